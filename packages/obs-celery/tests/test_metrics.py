"""Metrics: what is counted, by which labels."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery import Celery, signals
from celery.app.task import Context
from celery.app.trace import trace_task
from obs_celery import instrument_celery
from obs_core.testing import SpanRecorder
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader


@pytest.mark.promise("CEL-32", "CEL-31")
def test_durations_waits_outcomes_and_active_tasks(spans: SpanRecorder) -> None:
    """By task and state, a revoked one too; never by task id."""
    reader = InMemoryMetricReader()
    app = Celery("metrics", broker="memory://localhost", set_as_current=False)
    active: list[Any] = []

    @app.task(shared=False, name="work")
    def work(fail: bool = False) -> None:
        active.append(points(reader)["celery.task.active"][0].value)
        if fail:
            raise ValueError("boom")

    handle = instrument_celery(app, meter_provider=MeterProvider([reader]))
    work.apply(task_id="an-id")
    work.apply((True,), task_id="another-id")
    signals.task_revoked.send(
        sender=app.tasks["work"],
        request=Context(id="third-id", task="work"),
        terminated=False,
        signum=None,
        expired=True,
    )
    trace_task(
        work,
        "fourth-id",
        (),
        {},
        request={"obs-sent-at": time.time() - 2, "delivery_info": {}},
        app=app,
    )
    work.__trace__ = None
    handle.uninstrument()
    found = points(reader)
    assert active == [1, 1, 1]
    (waited,) = found["celery.queue_wait"]
    assert (waited.count, 2 <= waited.sum < 60) == (1, True)
    assert found["celery.task.active"][0].value == 0
    outcomes = {
        (p.attributes["celery.state"], p.attributes.get("error.type")): p.value
        for p in found["celery.task.outcomes"]
    }
    assert outcomes == {
        ("SUCCESS", None): 2,
        ("FAILURE", "ValueError"): 1,
        ("REVOKED", None): 1,
    }
    assert sum(point.count for point in found["messaging.process.duration"]) == 3
    assert "-id" not in repr(
        [point.attributes for series in found.values() for point in series]
    )
    assert max(found["messaging.process.duration"][0].explicit_bounds) >= 600


def points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    """The data points of each metric."""
    data = reader.get_metrics_data()
    assert data is not None
    scopes = [
        scope for resource in data.resource_metrics for scope in resource.scope_metrics
    ]
    return {
        metric.name: list(metric.data.data_points)
        for scope in scopes
        for metric in scope.metrics
    }
