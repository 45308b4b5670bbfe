"""The options of an instrumented HTTP client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from obs_core import CorrelationConfig
from obs_core.integration import check_callable, check_names
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, TracerProvider

from obs_http._options import check_common

OnStart = Callable[[Span, Any], Awaitable[None] | None]
OnEnd = Callable[[Span, Any, Any], Awaitable[None] | None]


@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    """The options of `instrument_httpx` and `instrument_requests`, as given.

    Raises:
        ConfigurationError: An option is of the wrong kind.
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
        check_callable("on_start", self.on_start)
        check_callable("on_end", self.on_end)
        check_names("exclude", self.exclude or (), example="http://localhost:9200/*")
        check_names("propagate_to", self.propagate_to, example="*.internal")
        check_common(self.redact, self.correlation)
