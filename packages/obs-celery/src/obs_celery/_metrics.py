"""Metrics through OpenTelemetry's API, nearly free without a MeterProvider. Task ids are never labels."""

from __future__ import annotations

from inspect import signature
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import Histogram, Meter, MeterProvider
from opentelemetry.util.types import AttributeValue

Labels = dict[str, AttributeValue]

#: Seconds; tasks take from a millisecond to an hour.
BUCKETS = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    1800.0,
    3600.0,
)


class Metrics:
    """The instruments of an instrumentation. Thread-safe; a forked child continues with separate streams."""

    def __init__(self, provider: MeterProvider | None, version: str) -> None:
        meter = metrics.get_meter("obs_celery", version, provider)
        self.duration = _histogram(
            meter,
            "messaging.process.duration",
            "Time that one execution of a task took.",
        )
        self.queue_wait = _histogram(
            meter,
            "celery.queue_wait",
            "Time between sending and execution, without the ETA's delay.",
        )
        self.outcomes = meter.create_counter(
            "celery.task.outcomes",
            "{task}",
            "Executions by final state, lost and revoked too.",
        )
        self.active = meter.create_up_down_counter(
            "celery.task.active", "{task}", "Tasks being executed now."
        )

    @property
    def are_recorded(self) -> bool:
        """Whether a MeterProvider is set: until then the API's instruments are empty proxies."""
        return getattr(self.active, "_real_instrument", self.active) is not None

    def started(self, labels: Labels, wait_s: float | None) -> bool:
        """Count an execution that starts, and record the queue wait where known; False: nothing is recorded."""
        if not self.are_recorded:
            return False
        self.active.add(1, labels)
        if wait_s is not None:
            self.queue_wait.record(wait_s, labels)
        return True

    def ended(
        self, labels: Labels, state: str, error: str | None, duration_s: float | None
    ) -> None:
        """Count an outcome, and record the duration of a task that ran."""
        outcome = {**labels, "celery.state": state}
        if error:
            outcome["error.type"] = error
        self.outcomes.add(1, outcome)
        if duration_s is not None:
            self.duration.record(duration_s, outcome)


def _histogram(meter: Meter, name: str, description: str) -> Histogram:
    # advisory buckets came with opentelemetry-api 1.30; before it a view sets them
    advice: dict[str, Any] = {"explicit_bucket_boundaries_advisory": BUCKETS}
    known = signature(meter.create_histogram).parameters
    return meter.create_histogram(
        name, "s", description, **{k: v for k, v in advice.items() if k in known}
    )
