"""The middleware's options: as given, checked once at set-up, and as in force, prepared for each request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from obs_core import CorrelationConfig, TracingManager
from obs_core.exceptions import ConfigurationError
from obs_core.integration import Redactor, check_callable, check_choice, redactor
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, TracerProvider

from obs_http._headers import HeaderCapture
from obs_http._hooks import Hook
from obs_http._options import check_common
from obs_http._semconv import SERVER
from obs_http.server._exclusion import Exclusion
from obs_http.server._identity import Identify, IdentityReader
from obs_http.server._response_headers import ResponseHeaders

_FLAGS = (
    "identity_in_baggage", "identity_from_baggage", "trust_remote_context", "response_headers", "traceresponse",
    "legacy_attributes",
)  # fmt: skip


OnStart = Callable[[Span, Any], None]
OnEnd = Callable[[Span, Any, Any], None]


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """The options of `RequestTracingMiddleware` and `instrument_fastapi`, as given.

    Raises:
        ConfigurationError: An option is wrong.
    """

    service_name: str | None = None
    correlation: CorrelationConfig | None = None
    redact: Sequence[str] = ()
    capture_request_headers: Sequence[str] | None = None
    capture_response_headers: Sequence[str] | None = None
    exclude: Sequence[str] | None = None
    identify: Identify | Literal["aws_alb"] | None = None
    identity_hash_key: str | None = None
    identity_in_baggage: bool = False
    identity_from_baggage: bool = False
    trust_remote_context: bool = True
    response_headers: bool = True
    traceresponse: bool = False
    legacy_attributes: bool = False
    on_start: OnStart | None = None
    on_end: OnEnd | None = None
    tracer_provider: TracerProvider | None = None
    meter_provider: MeterProvider | None = None

    def __post_init__(self) -> None:
        check_common(self.redact, self.correlation)
        for name in ("on_start", "on_end"):
            check_callable(name, getattr(self, name))
            self.hook(name)
        for name in _FLAGS:
            check_choice(name, getattr(self, name), (True, False))
        if self.identity_from_baggage and not self.trust_remote_context:
            raise ConfigurationError(
                "identity_from_baggage=True contradicts trust_remote_context=False: leave one of them out"
            )

    def hook(self, name: str) -> Hook | None:
        """Return ``on_start`` or ``on_end``, contained; None: not given."""
        function = getattr(self, name)
        return function and Hook(f"server {name}", function, awaits=False)


class Settings:
    """The options in force: the given ones, with the defaults of the set-up."""

    __slots__ = (
        "_redact",
        "correlation",
        "excludes",
        "former_names",
        "identity",
        "on_end",
        "on_start",
        "options",
        "request_capture",
        "response_capture",
        "response_headers",
    )  # fmt: skip

    def __init__(self, options: ServerOptions, manager: TracingManager | None) -> None:
        self.options = options
        self._redact = tuple(options.redact)
        self.correlation = options.correlation or _correlation(manager)
        self.excludes = Exclusion(options.exclude)
        self.request_capture = self._capture("request", options.capture_request_headers)
        self.response_capture = self._capture(
            "response", options.capture_response_headers
        )
        self.identity = _identity(options)
        self.on_start, self.on_end = options.hook("on_start"), options.hook("on_end")
        self.former_names = SERVER.in_force()
        self.response_headers = ResponseHeaders(
            self.correlation,
            options.service_name or _service_name(manager),
            usual=options.response_headers,
            traceresponse=options.traceresponse,
        )

    def _capture(
        self, message: str, patterns: Sequence[str] | None
    ) -> HeaderCapture | None:
        return HeaderCapture("server", message, patterns, self._redact) or None

    def redactor(self) -> Redactor:
        """Return the redactor of these options and the set-up in force."""
        return redactor(self._redact)


def _identity(options: ServerOptions) -> IdentityReader | None:
    if options.identify is None and not options.identity_from_baggage:
        return None
    return IdentityReader(
        options.identify,
        options.identity_hash_key,
        from_baggage=options.identity_from_baggage,
    )


def _correlation(manager: TracingManager | None) -> CorrelationConfig:
    if manager is None:
        return CorrelationConfig()
    return manager.settings.correlation


def _service_name(manager: TracingManager | None) -> str:
    if manager is None:
        return ""
    return manager.settings.service_name or ""
