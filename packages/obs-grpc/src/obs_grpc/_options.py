"""The options of `instrument_grpc_client` and `instrument_grpc_server`, checked at set-up."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields
from typing import Any

from obs_core.integration import (
    Globs,
    Implementation,
    call_contained,
    check_choice,
    check_names,
    check_plain_function,
    require,
    warn_unsupported_version,
)
from opentelemetry.trace import Span, TracerProvider

#: Services that are not traced by default: health checks and development tools.
DEFAULT_EXCLUDE = (
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
_VARIABLE = "OTEL_PYTHON_GRPC_EXCLUDED_SERVICES"


@dataclass(frozen=True, slots=True)
class RpcDetails:
    """The argument of a function given as `exclude`, as the filters of ``opentelemetry.instrumentation.grpc`` expect.

    Attributes:
        method: The full method name, as sent: ``/package.Service/Method``.
    """

    method: str


Exclude = Collection[str] | Callable[[RpcDetails], bool]
Hook = Callable[[Span, Any], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options, described in `instrument_grpc_client`. Immutable, hence safe to share between threads.

    Raises:
        ConfigurationError: An option has a value of the wrong kind.
    """

    exclude: Exclude = DEFAULT_EXCLUDE
    include_message_events: bool = False
    identity_from_baggage: bool = False
    on_start: Hook | None = None
    on_end: Hook | None = None
    tracer_provider: TracerProvider | None = None
    implementation: Implementation = field(default_factory=Implementation)
    _excluded: Globs = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names: tuple[str, ...] = DEFAULT_EXCLUDE
        if not callable(self.exclude):
            names = check_names("exclude", self.exclude, example="package.Service")
            object.__setattr__(self, "exclude", names)
        for name in ("include_message_events", "identity_from_baggage"):
            check_choice(name, getattr(self, name), (True, False))
        for name in ("on_start", "on_end"):
            check_plain_function(name, getattr(self, name))
        from_environment = os.environ.get(_VARIABLE, "").replace(" ", "").split(",")
        patterns = [name.lstrip("/") for name in (*names, *from_environment) if name]
        object.__setattr__(self, "_excluded", Globs(patterns))

    def check_implementation(self) -> None:
        """Refuse options that the chosen implementation does not have."""
        honoured = ("exclude", "tracer_provider")
        self.implementation.check_options(self, Options(), honoured=honoured)

    def by_name(self) -> dict[str, object]:
        """Return the options by name, to compare with those of another call."""
        return {
            each.name: getattr(self, each.name) for each in fields(self) if each.compare
        }

    def excludes(self, full_method: str) -> bool:
        """Whether RPCs of `full_method` are not traced; a function that raises is logged and excludes nothing."""
        name = full_method.lstrip("/")
        service = name.rpartition("/")[0]
        if self._excluded.matches(service) or self._excluded.matches(name):
            return True
        if not callable(self.exclude):
            return False
        return bool(call_contained("exclude", self.exclude, RpcDetails(full_method)))


def check_installed() -> None:
    """Raise `MissingDependencyError` without grpcio; warn of a version outside the supported range."""
    require("grpc", package="obs-grpc")
    warn_unsupported_version("obs-grpc", "grpcio")
