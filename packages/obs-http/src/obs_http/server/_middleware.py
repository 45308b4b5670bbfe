"""The ASGI middleware: a single SERVER span for each request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from obs_core import CorrelationConfig, TracingManager
from obs_core.integration import (
    attach,
    call_contained,
    current_manager,
    detach,
    extract,
    hold_request,
    is_suppressed,
    keeping,
    package_tracer,
    unsampled_context,
)
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider

from obs_http._metrics import Metrics
from obs_http._semconv import SERVER_METRICS
from obs_http.server._entry import Entry, guard_entry
from obs_http.server._existing_span import (
    excluded_context,
    keep_to_ourselves,
    present_span,
)
from obs_http.server._identity import Identify
from obs_http.server._lifespan import run_lifespan
from obs_http.server._native import only_traces
from obs_http.server._opening import Opening
from obs_http.server._options import OnEnd, OnStart, ServerOptions, Settings
from obs_http.server._propagation import CARRIER, is_sampled
from obs_http.server._types import ENTRY, MARK, TRACED, ASGIApp, Receive, Scope, Send


class RequestTracingMiddleware:
    """Trace the requests and WebSocket sessions of an ASGI application: enrich the SERVER span, or open a span.

    Pure ASGI: bodies stream, background tasks keep running, the handler runs exactly once, and its exceptions
    are unchanged. Failures of telemetry are logged and do not affect requests.

    Args:
        app: The application to wrap.
        service_name: For the response header ``X-Service-Name``. Default: the service name of the set-up. Without a
            name, no header.
        correlation: Reading and writing of correlation ids. Default: the set-up's.
        redact: More name globs whose values are masked, in addition to the built-in globs and the set-up's.
        capture_request_headers: Names and globs of request headers to record on the span; secrets are masked.
            Default: ``OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST``.
        capture_response_headers: The same for response headers.
        exclude: Whole paths and globs that are not traced. Default: the usual health, readiness and
            metrics paths, and the URLs of ``OTEL_PYTHON_FASTAPI_EXCLUDED_URLS`` or
            ``OTEL_PYTHON_EXCLUDED_URLS``.
        identify: Names the user of a request, given its headers (lower-case names): an `Identity`, a user id or
            None; or ``"aws_alb"`` for the headers of an AWS Application Load Balancer.
        identity_hash_key: Record ``user.hash``, HMAC-SHA-256 under this key, in place of ``user.id``.
        identity_in_baggage: Send the identity to called services, as baggage. Default False.
        identity_from_baggage: Trust the identity in the caller's baggage if `identify` names no user. Default
            False, because any caller can write baggage. Only for services that only your own services can reach.
        trust_remote_context: Continue the caller's trace. False, for services open to the internet: start a new
            trace, linked to the caller's. Default True.
        response_headers: Set ``X-Correlation-ID``, ``X-Service-Name`` and ``X-Processing-Time`` (s). Default
            True.
        traceresponse: Set the W3C ``traceresponse`` header. Default False.
        legacy_attributes: Also record the correlation id as distributed-observability-tools 1.0 did. Default
            False.
        on_start: Called with the span, which is current, and the scope, before the application, for each request
            that is recorded. What it raises is logged.
        on_end: Called with the span, the scope and the first message of the answer (``http.response.start``, of a
            WebSocket session ``websocket.accept`` or its refusal) before that is sent.
        tracer_provider: Default: the global provider.
        meter_provider: For ``http.server.request.duration``. Default: the global provider; without a provider,
            nothing is measured.

    Raises:
        ConfigurationError: An option is wrong.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        service_name: str | None = None,
        correlation: CorrelationConfig | None = None,
        redact: Sequence[str] = (),
        capture_request_headers: Sequence[str] | None = None,
        capture_response_headers: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        identify: Identify | Literal["aws_alb"] | None = None,
        identity_hash_key: str | None = None,
        identity_in_baggage: bool = False,
        identity_from_baggage: bool = False,
        trust_remote_context: bool = True,
        response_headers: bool = True,
        traceresponse: bool = False,
        legacy_attributes: bool = False,
        on_start: OnStart | None = None,
        on_end: OnEnd | None = None,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self.app = app
        self._options = ServerOptions(
            service_name=service_name,
            correlation=correlation,
            redact=redact,
            capture_request_headers=capture_request_headers,
            capture_response_headers=capture_response_headers,
            exclude=exclude,
            identify=identify,
            identity_hash_key=identity_hash_key,
            identity_in_baggage=identity_in_baggage,
            identity_from_baggage=identity_from_baggage,
            trust_remote_context=trust_remote_context,
            response_headers=response_headers,
            traceresponse=traceresponse,
            legacy_attributes=legacy_attributes,
            on_start=on_start,
            on_end=on_end,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
        )
        self._tracer = package_tracer("obs-http", tracer_provider)
        former = SERVER_METRICS.in_force()
        self._metrics = Metrics("server", meter_provider, former)
        self._is_known = False
        self._follow(current_manager())

    def _follow(self, manager: TracingManager | None) -> None:
        """Prepare the options, with defaults of the set-up of `manager`."""
        self._settings = Settings(self._options, manager)
        self._manager = manager
        self._open = Opening(self._settings, self._tracer, self._metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI scope."""
        app = scope.get("app")
        if app is not None and not self._is_known:
            self._is_known = True
            call_contained("looking ahead of the application", guard_entry, app, self)
        if ENTRY not in scope:
            self._follow_set_up()
        if scope["type"] == "lifespan":
            await run_lifespan(self.app, scope, receive, send)
        elif scope["type"] not in TRACED or MARK in scope:
            await self.app(scope, receive, send)
        elif ENTRY not in scope and self._excludes(scope):
            await self._leave_alone(self.app, scope, receive, send)
        else:
            await self._trace(scope, receive, send)

    async def at_entry(
        self,
        app: ASGIApp,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        native: Any,
    ) -> None:
        """Handle a request before the application `app` of this middleware."""
        self._follow_set_up()
        if self._excludes(scope):
            await self._leave_alone(app, scope, receive, send)
            return
        entry = scope[ENTRY] = Entry(scope, send)
        inner = None
        if native is not None:
            inner = call_contained(
                "looking ahead of the application", self._look, entry, scope, native
            )
        token = None if inner is None else attach(inner)
        try:
            await app(scope, receive, entry.send)
        finally:
            entry.close()
            if token is not None:
                detach(token)

    def _follow_set_up(self) -> None:
        """Read the options again if tracing was set up since."""
        manager = current_manager()
        if manager is not self._manager:
            call_contained("reading the options of the set-up", self._follow, manager)

    def _look(self, entry: Entry, scope: Scope, app: Any) -> Context | None:
        """Return the context of a request that is not sampled, which FastAPI need not trace; else None."""
        if present_span(scope) is not None:
            keep_to_ourselves(scope)
            return None
        options = self._options
        entry.read(self._open.header_names())
        carrier = entry.hide_context(trusted=options.trust_remote_context)
        is_default = options.tracer_provider is None and options.meter_provider is None
        if not is_default or (carrier and is_sampled(carrier)) or not only_traces(app):
            return None
        caller = extract(carrier, Context(), CARRIER) if carrier else Context()
        inner = unsampled_context(self._tracer, caller)
        if inner is not None:
            keep_to_ourselves(scope)
        return inner

    def _excludes(self, scope: Scope) -> bool:
        return is_suppressed() or self._settings.excludes(scope)

    async def _leave_alone(
        self, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        scope[MARK] = None
        if present_span(scope) is not None:
            await app(scope, receive, send)
            return
        keep_to_ourselves(scope)
        token = attach(excluded_context())
        try:
            await app(scope, receive, send)
        finally:
            detach(token)

    async def _trace(self, scope: Scope, receive: Receive, send: Send) -> None:
        opened = call_contained(
            "opening a request's span", self._open, scope, receive, send
        )
        if opened is None:
            await self.app(scope, receive, send)
            return
        request, inner = opened
        if request.outcome.span.is_recording():
            receive = request.receive
        # a background task runs after the span has ended
        let_go = hold_request(request.outcome.span) if keeping.is_on else None
        token = attach(inner)
        request.tell_start()
        try:
            await self.app(scope, receive, request.send)
        except BaseException as error:
            request.fail(error, self._tracer)
            raise
        finally:
            await request.conclude()
            request.close()
            detach(token)
            if let_go is not None:
                let_go()
