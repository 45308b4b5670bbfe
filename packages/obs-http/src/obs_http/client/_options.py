"""The options of an instrumented HTTP client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from obs_core import CorrelationConfig
from obs_core.exceptions import ConfigurationError
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, TracerProvider

OnStart = Callable[[Span, Any], Awaitable[None] | None]
OnEnd = Callable[[Span, Any, Any], Awaitable[None] | None]


@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    """The options of `instrument_httpx` and `instrument_requests`, as given.

    Raises:
        ConfigurationError: `correlation` is of the wrong kind.
    """

    on_start: OnStart | None = None
    on_end: OnEnd | None = None
    capture_request_headers: Sequence[str] | None = None
    capture_response_headers: Sequence[str] | None = None
    exclude: Sequence[str] | None = None
    propagate_to: Sequence[str] = ()
    redact: Sequence[str] = ()
    correlation: CorrelationConfig | None = None
    tracer_provider: TracerProvider | None = None
    meter_provider: MeterProvider | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.correlation, CorrelationConfig | None):
            raise ConfigurationError(f"correlation={self.correlation!r} is not a CorrelationConfig")
