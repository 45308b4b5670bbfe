"""The options of `instrument_celery`, checked at set-up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

from obs_core.integration import (
    Globs,
    Redactor,
    check_callable,
    check_choice,
    check_names,
    check_number,
    redactor,
)
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, TracerProvider

Relation = Literal["parent", "link"]
ErrorState = Literal["REVOKED", "EXPIRED", "REJECTED"]
OnPublish = Callable[[Span, str, Mapping[str, Any]], None]
OnStart = Callable[[Span, Any], None]
OnEnd = Callable[[Span, Any, str], None]

#: Tasks of Celery's own that carry its canvas; hidden by default, with the context passing through them.
INTERNAL = frozenset(
    {"celery.chord_unlock", "celery.accumulate", "celery.backend_cleanup"}
)

_EXAMPLES = {"exclude": "reports.*", "capture_args": "order_id", "redact": "*ssn*"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options, described in `instrument_celery`. Immutable, hence safe to share between threads."""

    relation: Relation = "parent"
    task_relations: Mapping[str, Relation] = field(default_factory=dict)
    link_after_s: float | None = None
    exclude: Collection[str] = ()
    include_internal: bool = False
    error_states: Collection[ErrorState] = ()
    capture_args: Collection[str] = ()
    max_value_bytes: int = 1024
    redact: Collection[str] = ()
    on_publish: OnPublish | None = None
    on_start: OnStart | None = None
    on_end: OnEnd | None = None
    flush_timeout_s: float = 2.0
    tracer_provider: TracerProvider | None = None
    meter_provider: MeterProvider | None = None

    def __post_init__(self) -> None:
        check_choice("relation", self.relation, get_args(Relation))
        for name, relation in self.task_relations.items():
            check_choice(f"task_relations[{name!r}]", relation, get_args(Relation))
        for state in check_names("error_states", self.error_states, example="EXPIRED"):
            check_choice("error_states", state, get_args(ErrorState))
        for name, example in _EXAMPLES.items():
            check_names(name, getattr(self, name), example=example)
        check_number(
            "link_after_s", self.link_after_s, at_least=0, unit="seconds", optional=True
        )
        check_number(
            "flush_timeout_s", self.flush_timeout_s, at_least=0, unit="seconds"
        )
        check_number("max_value_bytes", self.max_value_bytes, at_least=1)
        for name in ("on_publish", "on_start", "on_end"):
            check_callable(name, getattr(self, name))

    @property
    def redactor(self) -> Redactor:
        """The redactor of the set-up in force, with the globs of `redact`."""
        return redactor(tuple(self.redact))

    def hides(self, name: str) -> bool:
        """Whether the task `name` gets no span on either side; the context passes through."""
        is_noise = name in INTERNAL and not self.include_internal
        return is_noise or Globs(self.exclude).matches(name)

    def relation_of(self, name: str) -> Relation:
        """The relation of task `name` to the producer, unless message or ETA say otherwise."""
        for glob, relation in self.task_relations.items():
            if Globs([glob]).matches(name):
                return relation
        return self.relation

    @cached_property
    def links_nothing(self) -> bool:
        """Whether every task is a child of the producer, unless the message says otherwise."""
        return self.link_after_s is None and "link" not in {
            self.relation,
            *self.task_relations.values(),
        }

    def captures(self, argument: str) -> bool:
        """Whether the value of `argument` is recorded (masked, if the name is secret)."""
        return self._captured.matches(argument)

    @cached_property
    def _captured(self) -> Globs:
        return Globs(self.capture_args)
