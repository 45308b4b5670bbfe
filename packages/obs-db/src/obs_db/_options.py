"""The options of the user, checked at set-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from obs_core.integration import (
    FormerNames,
    Implementation,
    Roots,
    check_choice,
    check_number,
    check_plain_function,
    option_error,
)
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, TracerProvider
from opentelemetry.util.types import AttributeValue

from obs_db._semconv import REDIS, SQL

#: The options that contrib's implementation honours too.
_HONOURED = (
    "service_name",
    "roots",
    "include_broker",
    "tracer_provider",
    "meter_provider",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options that `instrument_redis` and `instrument_sqlalchemy` share.

    Raises:
        ConfigurationError: `roots` is not ``"auto"``, True or False, `include_broker` is no bool, or
            `service_name` is empty.
    """

    service_name: str | None = None
    roots: Roots = "auto"
    include_broker: bool = False
    tracer_provider: TracerProvider | None = None
    implementation: Implementation = field(default_factory=Implementation)
    former_names: FormerNames = field(default_factory=REDIS.in_force, compare=False)

    def __post_init__(self) -> None:
        check_choice("roots", self.roots, ("auto", True, False))
        check_choice("include_broker", self.include_broker, (True, False))
        if self.service_name is not None and not self.service_name.strip():
            fix = "name the database as your team calls it, or leave it out"
            raise option_error("service_name", self.service_name, fix)

    def check_implementation(self) -> None:
        """Refuse options that the chosen implementation does not have."""
        self.implementation.check_options(self, type(self)(), honoured=_HONOURED)

    def peer_attributes(self) -> dict[str, AttributeValue]:
        """Return the attributes with the user's name of the database."""
        if self.service_name is None:
            return {}
        return {
            "service.peer.name": self.service_name,
            "peer.service": self.service_name,
        }


_COMMENT_FIELDS = ("db_driver", "db_framework", "opentelemetry_values")
RedisHook = Callable[[Span, Any, Any], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOptions(Options):
    """The options of a call of `instrument_redis`.

    Raises:
        ConfigurationError: A hook is no plain function.
    """

    on_start: RedisHook | None = None
    on_end: RedisHook | None = None

    def __post_init__(self) -> None:
        Options.__post_init__(self)
        for name in ("on_start", "on_end"):
            check_plain_function(name, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlOptions(Options):
    """The options of a call of `instrument_sqlalchemy`.

    Raises:
        ConfigurationError: A threshold is negative, `n_plus_one_threshold` is below 2, or `commenter_options`
            name an unknown field, or no comments are sent.
    """

    slow_threshold_s: float | None = 0.5
    n_plus_one_threshold: int | None = 10
    capture_parameters: bool = False
    trace_comments: bool = False
    commenter_options: Mapping[str, bool] | None = None
    meter_provider: MeterProvider | None = None
    former_names: FormerNames = field(default_factory=SQL.in_force, compare=False)

    def __post_init__(self) -> None:
        Options.__post_init__(self)
        slow, repeated = self.slow_threshold_s, self.n_plus_one_threshold
        check_number(
            "slow_threshold_s", slow, at_least=0, unit="seconds", optional=True
        )
        check_number("n_plus_one_threshold", repeated, at_least=2, optional=True)
        self._check_comments()

    def _check_comments(self) -> None:
        name, given = "commenter_options", self.commenter_options
        if given is None:
            return
        if not isinstance(given, Mapping):
            raise option_error(
                name, given, "give a dict, for instance {'db_driver': False}"
            )
        if any(key not in _COMMENT_FIELDS for key in given):
            raise option_error(name, given, f"use {', '.join(_COMMENT_FIELDS)}")
        for key, value in given.items():
            if not isinstance(value, bool):
                raise option_error(name, given, f"give True or False for {key}")
        if not self.trace_comments:
            raise option_error(name, given, "set trace_comments=True, or leave it out")
