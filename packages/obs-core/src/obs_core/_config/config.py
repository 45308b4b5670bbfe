"""The settings as the user writes them: checked at once, completed by the environment at set-up."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from obs_core._config import validators as check
from obs_core._config.endpoint import Protocol, parse_endpoint
from obs_core.exceptions import ConfigurationError, UnknownOptionError

T = TypeVar("T")

DEFAULT_CORRELATION_HEADERS = ("X-Correlation-ID", "X-Request-ID")


def _explain_unknown_options(cls: type[T]) -> type[T]:
    """Turn the TypeError for an unknown keyword into an error that names the nearest option."""
    original: Callable[..., None] = cls.__init__
    names = list(inspect.signature(original).parameters)[1:]

    @functools.wraps(original)
    def __init__(self: T, *args: Any, **options: Any) -> None:  # noqa: N807 - stands in for the generated one
        if args:
            raise ConfigurationError(
                f"{cls.__name__} takes keyword arguments only, for instance {names[0]}=…"
            )
        for name in options:
            if name not in names:
                from difflib import get_close_matches

                near = get_close_matches(name, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"options are {', '.join(names)}"
                raise UnknownOptionError(f"{cls.__name__} has no option {name!r}: {hint}")
        original(self, **options)

    cls.__init__ = __init__  # type: ignore[method-assign,assignment]
    return cls


@_explain_unknown_options
@dataclass(frozen=True, kw_only=True)
class CorrelationConfig:
    """Correlation ids at the HTTP edges; between services the id travels in W3C baggage.

    Attributes:
        headers: Request headers to take an id from, first match wins; the first is also written on responses and on
            outgoing requests. Default ``X-Correlation-ID``, ``X-Request-ID``.
        propagation: Whether the id leaves the service: as a header, and in baggage. Default True.
        generate_id: Whether a request without an id gets a new id. Default True.
    """

    headers: Sequence[str] = DEFAULT_CORRELATION_HEADERS
    propagation: bool = True
    generate_id: bool = True

    def __post_init__(self) -> None:
        headers = check.header_names("correlation.headers", self.headers)
        object.__setattr__(self, "headers", headers)
        check.boolean("correlation.propagation", self.propagation)
        check.boolean("correlation.generate_id", self.generate_id)


@_explain_unknown_options
@dataclass(frozen=True, kw_only=True)
class TracingConfig:
    """The settings of a service's tracing; whatever is left out comes from the environment, then from the default.

    Precedence of each one: argument > ``OTEL_*`` variable > legacy variable > default. Immutable.

    Attributes:
        service_name: ``service.name``. Required here or as ``OTEL_SERVICE_NAME`` / ``SERVICE_NAME``.
        service_version: ``service.version``.
        service_namespace: ``service.namespace``.
        collector_url: The OTLP collector. Default ``http://localhost:4317``.
        collector_protocol: ``"grpc"`` or ``"http"``. Default: what the port and path of `collector_url` say, else grpc.
        headers: Sent with every export, for instance an ingestion key. Never shown.
        sampling_rate: Share of new traces to record, 0 … 1, by trace id; a parent's decision always wins. Default 1.0.
        environment: ``deployment.environment.name``.
        resource_attributes: More attributes of the resource; they win over detected ones.
        correlation: Correlation ids at the HTTP edges.
        export_timeout_s: Longest time for one export, in seconds. Default 10.
        exit_timeout_s: Longest time that process exit waits for the collector, in seconds, in total. Default 2.
        max_queue_size: Finished spans kept for export; more are dropped and counted. Default 2,048.
        max_export_batch_size: Spans per export. Default 512, at most `max_queue_size`.
        schedule_delay_s: Longest wait before a finished span is exported, in seconds. Default 5.
        spool_dir: A local directory where finished spans are until the collector has taken them, so that they survive SIGKILL,
            restarts and long outages. Processes that export to the same collector may share it. POSIX. Default None: off.
        spool_max_bytes: About how much may be kept there by all processes together, in bytes. Default 67,108,864 (64 MiB).
        spool_max_age_s: How long a span may wait there, in seconds. Default 86,400 (a day).
        redact: More name globs (``"*ssn*"``) whose values are masked, beside the built-in ones.
        strict: Raise for what is wrong in the environment too, in place of a warning and the default. Default False.

    Raises:
        ConfigurationError: A value is wrong, or two contradict each other; the message says what, the value and the fix.
    """

    service_name: str | None = None
    service_version: str | None = None
    service_namespace: str | None = None
    collector_url: str | None = None
    collector_protocol: Protocol | None = None
    headers: Mapping[str, str] | None = None
    sampling_rate: float | None = None
    environment: str | None = None
    resource_attributes: Mapping[str, Any] | None = None
    correlation: CorrelationConfig | None = None
    export_timeout_s: float | None = None
    exit_timeout_s: float | None = None
    max_queue_size: int | None = None
    max_export_batch_size: int | None = None
    schedule_delay_s: float | None = None
    spool_dir: str | os.PathLike[str] | None = None
    spool_max_bytes: int | None = None
    spool_max_age_s: float | None = None
    redact: Sequence[str] | None = None
    strict: bool = field(default=False)

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None:
                object.__setattr__(self, item.name, CHECKS[item.name](item.name, value))
        if self.collector_url is not None:
            parse_endpoint(self.collector_url, self.collector_protocol)
        if (
            self.max_queue_size
            and self.max_export_batch_size
            and self.max_export_batch_size > self.max_queue_size
        ):
            raise ConfigurationError(
                f"max_export_batch_size {self.max_export_batch_size} is larger than max_queue_size {self.max_queue_size}: "
                "a batch is taken from the queue, so lower the one or raise the other"
            )

    @classmethod
    def from_env(cls) -> TracingConfig:
        """Return a configuration that takes everything from the environment (``OTEL_*``, then the legacy names)."""
        return _FromEnvironment()


class _FromEnvironment(TracingConfig):
    """A configuration that leaves the service name to the environment: without a name it warns."""


def needs_service_name(config: TracingConfig) -> bool:
    """Whether a service name that is found nowhere is the programmer's error, not the environment's."""
    return not isinstance(config, _FromEnvironment)


CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "service_name": check.text,
    "service_version": check.text,
    "service_namespace": check.text,
    "collector_url": check.text,
    "collector_protocol": check.protocol,
    "headers": check.headers,
    "sampling_rate": check.rate,
    "environment": check.text,
    "resource_attributes": check.attributes,
    "correlation": check.instance(CorrelationConfig),
    "export_timeout_s": check.positive_seconds,
    "exit_timeout_s": check.seconds,
    "max_queue_size": check.positive_integer,
    "max_export_batch_size": check.positive_integer,
    "schedule_delay_s": check.positive_seconds,
    "spool_dir": check.path,
    "spool_max_bytes": check.positive_integer,
    "spool_max_age_s": check.positive_seconds,
    "redact": check.globs,
    "strict": check.boolean,
}
