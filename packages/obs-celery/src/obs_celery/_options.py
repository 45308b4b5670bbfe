"""The options of `instrument_celery`, checked at set-up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal, get_args

from obs_core.exceptions import ConfigurationError
from obs_core.integration import Redactor, redactor
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, TracerProvider

Relation = Literal["parent", "link"]
ErrorState = Literal["REVOKED", "EXPIRED", "REJECTED"]
OnPublish = Callable[[Span, str, Mapping[str, Any]], None]
OnStart = Callable[[Span, Any], None]
OnEnd = Callable[[Span, Any, str], None]

#: Tasks of Celery's own that carry its canvas; hidden by default, with the context passing through them.
INTERNAL = frozenset({"celery.chord_unlock", "celery.accumulate", "celery.backend_cleanup"})


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
        _one_of("relation", self.relation, get_args(Relation))
        for name, relation in self.task_relations.items():
            _one_of(f"task_relations[{name!r}]", relation, get_args(Relation))
        for state in _names("error_states", self.error_states):
            _one_of("error_states", state, get_args(ErrorState))
        for name in ("exclude", "capture_args", "redact"):
            _names(name, getattr(self, name))
        for name in ("link_after_s", "flush_timeout_s"):
            _seconds(name, getattr(self, name), optional=name == "link_after_s")
        _positive("max_value_bytes", self.max_value_bytes)
        for name in ("on_publish", "on_start", "on_end"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise _wrong(name, getattr(self, name), "give a callable")

    @property
    def redactor(self) -> Redactor:
        """The redactor of the set-up in force, with the globs of `redact`."""
        return redactor(tuple(self.redact))

    def hides(self, name: str) -> bool:
        """Whether the task `name` gets no span on either side; the context passes through."""
        return (name in INTERNAL and not self.include_internal) or any(
            fnmatchcase(name, glob) for glob in self.exclude
        )

    def relation_of(self, name: str) -> Relation:
        """The relation of task `name` to the producer, unless message or ETA say otherwise."""
        found = (
            relation for glob, relation in self.task_relations.items() if fnmatchcase(name, glob)
        )
        return next(found, self.relation)

    @cached_property
    def links_nothing(self) -> bool:
        """Whether every task is a child of the producer, unless the message says otherwise."""
        return self.link_after_s is None and "link" not in {
            self.relation,
            *self.task_relations.values(),
        }

    def captures(self, argument: str) -> bool:
        """Whether the value of `argument` is recorded (masked, if the name is secret)."""
        return any(fnmatchcase(argument, glob) for glob in self.capture_args)


def _wrong(name: str, value: object, fix: str) -> ConfigurationError:
    return ConfigurationError(f"instrument_celery: {name}={value!r} is not valid: {fix}")


def _one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise _wrong(name, value, f"use {' or '.join(map(repr, known))}")


def _names(name: str, value: object) -> tuple[str, ...]:
    if (
        isinstance(value, str)
        or not isinstance(value, Collection)
        or not all(isinstance(item, str) for item in value)
    ):
        raise _wrong(name, value, "give a list of names or globs, for instance ['reports.*']")
    return tuple(value)


def _positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _wrong(name, value, "give a whole number, 1 or more")


def _seconds(name: str, value: object, *, optional: bool) -> None:
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise _wrong(name, value, "give a number of seconds, 0 or more")
