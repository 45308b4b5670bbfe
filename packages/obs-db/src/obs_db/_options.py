"""The options of the user, checked at set-up."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from obs_core.exceptions import ConfigurationError
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from obs_db._semconv import wants_former_names

Roots = Literal["auto"] | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options common to SQLAlchemy and Redis.

    Raises:
        ConfigurationError: `roots` is not ``"auto"``, True or False, or `service_name` is empty.
    """

    service_name: str | None = None
    roots: Roots = "auto"
    tracer_provider: TracerProvider | None = None
    former_names: bool = field(default_factory=wants_former_names, compare=False)

    def __post_init__(self) -> None:
        if self.roots not in ("auto", True, False):
            raise ConfigurationError(f"roots is {self.roots!r}: use 'auto', True or False")
        if self.service_name is not None and not self.service_name.strip():
            raise ConfigurationError(
                "service_name is empty: name the database as your team calls it, or leave it out"
            )

    def by_name(self) -> dict[str, object]:
        """Return the options in a form to compare with a later call's."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.compare}


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlOptions(Options):
    """The options of a call of `instrument_sqlalchemy`.

    Raises:
        ConfigurationError: A threshold is negative, or `n_plus_one_threshold` is below 2.
    """

    slow_threshold_s: float | None = 0.5
    n_plus_one_threshold: int | None = 10
    capture_parameters: bool = False
    trace_comments: bool = False
    meter_provider: MeterProvider | None = None

    def __post_init__(self) -> None:
        Options.__post_init__(self)
        if self.slow_threshold_s is not None and not self.slow_threshold_s >= 0:
            raise ConfigurationError(
                f"slow_threshold_s is {self.slow_threshold_s!r}: use seconds from 0 on, or None for never"
            )
        if self.n_plus_one_threshold is not None and not self.n_plus_one_threshold >= 2:
            raise ConfigurationError(
                f"n_plus_one_threshold is {self.n_plus_one_threshold!r}: use 2 or more, or None for never"
            )
