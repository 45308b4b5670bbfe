"""What the user chose: which RPCs are traced, and how much of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

from obs_core.exceptions import ConfigurationError
from obs_core.integration import call_contained
from opentelemetry.trace import TracerProvider

#: Services whose RPCs are not traced unless asked for: probes and tools, not traffic.
EXCLUDED_SERVICES = (
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
_VARIABLE = "OTEL_PYTHON_GRPC_EXCLUDED_SERVICES"


@dataclass(frozen=True, slots=True)
class RpcDetails:
    """What a filter is asked about; the filters of ``opentelemetry.instrumentation.grpc.filters`` understand it too.

    Attributes:
        method: The full method as it goes over the wire: ``/package.Service/Method``.
    """

    method: str


Filter = Callable[[RpcDetails], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The keyword arguments of `instrument_grpc_client` and `instrument_grpc_server`, checked."""

    filter_: Filter | None
    excluded: frozenset[str]
    message_events: bool
    identity_from_baggage: bool
    tracer_provider: TracerProvider | None

    @classmethod
    def check(
        cls,
        *,
        filter_: Filter | None,
        exclude_services: Iterable[str],
        message_events: bool,
        identity_from_baggage: bool = False,
        tracer_provider: TracerProvider | None,
    ) -> Options:
        """Return the options, with the services named by ``OTEL_PYTHON_GRPC_EXCLUDED_SERVICES`` excluded as well.

        Raises:
            ConfigurationError: `filter_` is not callable, or `exclude_services` is a string or holds something else.
        """
        if filter_ is not None and not callable(filter_):
            raise ConfigurationError(
                f"filter_ is {filter_!r}; give a callable that answers whether to trace an RPC, or None"
            )
        services = (
            [exclude_services] if isinstance(exclude_services, str) else list(exclude_services)
        )
        if isinstance(exclude_services, str) or not all(
            isinstance(service, str) for service in services
        ):
            raise ConfigurationError(
                f"exclude_services is {exclude_services!r}; give a list of full service names"
            )
        named = [name.strip() for name in os.environ.get(_VARIABLE, "").split(",")]
        return cls(
            filter_=filter_,
            excluded=frozenset([*services, *named]) - {""},
            message_events=message_events,
            identity_from_baggage=identity_from_baggage,
            tracer_provider=tracer_provider,
        )

    def by_name(self) -> dict[str, object]:
        """Return the options, to compare with another call's."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def trace(self, full_method: str) -> bool:
        """Whether to trace RPCs of `full_method`: its service is not excluded, and the filter, if any, agrees.

        A filter that raises is logged, and the RPC is traced.
        """
        service = full_method.lstrip("/").rpartition("/")[0]
        if service in self.excluded:
            return False
        return (
            self.filter_ is None
            or call_contained("filter_", self.filter_, RpcDetails(full_method)) is not False
        )
