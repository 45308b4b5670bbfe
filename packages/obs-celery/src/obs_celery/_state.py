"""The instrumented apps with their options, shared by publish, execute and supervise."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any
from weakref import WeakKeyDictionary

from obs_core.integration import (
    Contrib,
    SpanPolicy,
    Targets,
    call_contained,
    is_suppressed,
    package_tracer,
)
from opentelemetry.context import Context

from obs_celery._arguments import MAPS
from obs_celery._broker import Broker, describe_broker
from obs_celery._metrics import Labels, Metrics
from obs_celery._options import Options
from obs_celery._propagation import is_unsampled

_contrib = Contrib(
    "opentelemetry.instrumentation.celery:CeleryInstrumentor", package="obs-celery"
)
#: Names beyond this many are forgotten and worked out again: `send_task` takes any string.
_MAX_TASKS = 1024


class TaskFacts:
    """The names and attributes that all messages of a task share, computed once."""

    __slots__ = (
        "broker",
        "consumed",
        "hidden",
        "is_described",
        "labels",
        "processes",
        "published",
        "publishes",
        "relation",
    )

    def __init__(self, options: Options, broker: Broker, name: str) -> None:
        self.broker = broker
        self.hidden = options.hides(name)
        self.is_described = (
            name in MAPS or bool(options.capture_args) or options.on_start is not None
        )
        self.relation = options.relation_of(name)
        self.publishes, self.processes = f"publish {name}", f"process {name}"
        known: Labels = {"messaging.system": broker.system, "celery.task.name": name}
        self.labels: Labels = {**known, "messaging.operation.name": "process"}
        known |= broker.attributes()
        self.published = {
            **known,
            "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
        }
        self.consumed = {
            **known,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
        }


class Setup:
    """Options, tracer and instruments of a call of `instrument_celery`. Thread-safe, fork-safe."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.tracer = package_tracer("obs-celery", options.tracer_provider)
        self.metrics = Metrics(options.meter_provider, version("obs-celery"))
        self._policy = SpanPolicy(options.tracer_provider)
        self._apps: WeakKeyDictionary[Any, tuple[Broker, dict[str, TaskFacts]]] = (
            WeakKeyDictionary()
        )

    def leaves_out(self, context: Context) -> bool:
        """Whether a call made here in `context` gets no span: suppressed, or below an unsampled span."""
        return is_suppressed() or (
            is_unsampled(context) and self._policy.follows_parent
        )

    def facts(self, app: Any, name: str) -> TaskFacts:
        """The facts of the task `name` of `app`."""
        broker, tasks = self._apps.get(app) or self._describe(app)
        found = tasks.get(name)
        if found is None:
            if len(tasks) >= _MAX_TASKS:
                tasks.clear()
            found = tasks[name] = TaskFacts(self.options, broker, name)
        return found

    def _describe(self, app: Any) -> tuple[Broker, dict[str, TaskFacts]]:
        broker = (
            call_contained("describing the broker", describe_broker, app) or Broker()
        )
        return self._apps.setdefault(app, (broker, {}))


class Setups(Targets[Setup]):
    """The current setups: a setup for all apps, and setups for single apps, which go first."""

    __slots__ = ()

    def find(self, target: object) -> Setup | None:
        """Return the setup for an app; None where the app is not instrumented, or contrib takes over."""
        found = super().find(target)
        if found is None or _contrib.takes_over():
            return None
        return found
