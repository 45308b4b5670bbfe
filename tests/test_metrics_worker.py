"""A real prefork worker counts its tasks, in children that come and go."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from celery import Celery
from obs_celery import instrument_celery, uninstrument_celery
from obs_core.testing import OtlpSink, SinkPoint
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace import TracerProvider

from tests.services import celery_worker

APP = """
import os

from celery import Celery
from obs_celery import instrument_celery
from obs_core import TracingConfig, setup_tracing

setup_tracing(TracingConfig(service_name="worker", metrics=True))
instrument_celery()
app = Celery("app", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(task_default_queue="metrics", broker_connection_retry_on_startup=True)


@app.task(name="work")
def work(number):
    if number < 0:
        raise ValueError("negative")
    return os.getpid()
"""


@pytest.mark.promise("CORE-96", "CEL-32")
def test_a_recycled_child_s_tasks_are_counted_once(
    redis_url: str, tmp_path: Path, otlp_sink: OtlpSink
) -> None:
    """Three children for five tasks, each an instance of its own that begins at zero; their exits flush, not the interval."""
    numbers = (1, 2, 3, -4, 5)
    pids = run_tasks(redis_url, tmp_path, numbers, otlp_sink.url)
    outcomes = last_points(otlp_sink.metrics, "celery.task.outcomes")
    by_instance: Counter[str] = Counter()
    states: Counter[str] = Counter()
    for point in outcomes:
        by_instance[point.resource["service.instance.id"]] += int(point.value)
        states[point.attributes["celery.state"]] += int(point.value)
    assert sorted(by_instance.values()) == [1, 2, 2]
    assert states == {"SUCCESS": 4, "FAILURE": 1}
    assert {point.resource["process.pid"] for point in outcomes} == pids
    for name in ("messaging.process.duration", "celery.queue_wait"):
        durations = last_points(otlp_sink.metrics, name)
        assert sum(point.count for point in durations) == len(numbers)
        assert {point.resource["service.instance.id"] for point in durations} == set(
            by_instance
        )
        points = [point for point in otlp_sink.metrics if point.name == name]
        exemplars = {trace for point in points for trace in point.exemplars}
        assert exemplars
        assert exemplars <= {span.trace_id for span in otlp_sink.spans}
    active = last_points(otlp_sink.metrics, "celery.task.active")
    assert [point.value for point in active] == [0, 0, 0]


def run_tasks(
    redis_url: str, folder: Path, numbers: tuple[int, ...], collector: str
) -> set[int]:
    """Run a task for each number, one after the other, on a worker of one child at a time; return the children's ids."""
    (folder / "app.py").write_text(APP)
    told = {"REDIS_URL": redis_url, "OTEL_EXPORTER_OTLP_ENDPOINT": collector}
    options = ["-c", "1", "--max-tasks-per-child", "2"]
    app = Celery("app", broker=redis_url, backend=redis_url, set_as_current=False)
    app.conf.task_default_queue = "metrics"
    pids = set()
    # the time of sending goes with the message, and a trace that is sampled whatever other tests have left
    sampled = TracerProvider(shutdown_on_exit=False)
    instrument_celery(app, tracer_provider=sampled)
    token = attach(Context())
    try:
        with app, celery_worker("app", *options, folder=folder, **told):
            for number in numbers:
                with suppress(ValueError):
                    pids.add(app.send_task("work", args=[number]).get(timeout=40))
    finally:
        detach(token)
        uninstrument_celery(app)
    return pids


def last_points(points: list[SinkPoint], name: str) -> list[SinkPoint]:
    """Return the latest point of each stream of the metric `name`: of each resource and set of attributes."""
    found = {}
    for point in points:
        if point.name == name:
            stream = point.resource["service.instance.id"], *point.attributes.items()
            found[stream] = point
    return list(found.values())
