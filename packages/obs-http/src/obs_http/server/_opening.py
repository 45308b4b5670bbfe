"""The start of a request: reads headers and parent context, finds or starts the SERVER span."""

from __future__ import annotations

from collections.abc import Callable

from obs_core import get_correlation_id
from obs_core.integration import attach_correlation, call_contained
from opentelemetry import baggage, context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind

from obs_http._headers import by_name, first_by_name
from obs_http._metrics import Durations, Stopwatch
from obs_http.server._attributes import RequestAttributes, span_method
from obs_http.server._entry import Edge
from obs_http.server._identity import without_identity
from obs_http.server._options import ServerOptions
from obs_http.server._propagation import Carrier, propagation_fields, remote_context
from obs_http.server._request import Exchange
from obs_http.server._server_span import claim, keep_to_ourselves, native_span, present_span
from obs_http.server._types import EDGE, MARK, Receive, Scope, Send


class Opening:
    """Opens the exchanges of a middleware; keeps no state of a request."""

    __slots__ = ("_durations", "_fields", "_names", "_options", "_tracer", "_wanted")

    def __init__(self, options: ServerOptions, tracer: trace.Tracer, durations: Durations) -> None:
        self._options = options
        self._tracer = tracer
        self._durations = durations
        names = (*options.correlation.headers, "host", "user-agent")
        self._names = {name.lower().encode(): name.lower() for name in names}
        self._fields: dict[bytes, str] = {}
        self._wanted = self._names

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> tuple[Exchange, Context]:
        """Open the exchange of a request; return the exchange and the context of the application."""
        edge: Edge | None = scope.get(EDGE)
        if edge is not None:
            edge.show_headers()
        headers = by_name(scope.get("headers", ()), self._header_names())
        present = present_span(scope)
        base, links = self._parent(headers, present)
        inner = attach_correlation(_first_of(headers), base, self._options.correlation)
        span = present or self._start(scope, headers, inner, links)
        exchange = self._exchange(scope, receive, send, span, present, get_correlation_id(inner))
        scope[MARK] = exchange
        keep_to_ourselves(scope)
        if present is not None and edge is not None:
            _add_links(span, edge.links)
        if span.is_recording():
            exchange.enrich()
        return exchange, claim(span, self._with_identity(span, scope, inner))

    def _header_names(self) -> dict[bytes, str]:
        fields = propagation_fields()
        if fields is not self._fields:
            self._fields, self._wanted = fields, {**fields, **self._names}
        return self._wanted

    def _parent(self, headers: Carrier, present: Span | None) -> tuple[Context, list[Link]]:
        trusted = self._options.trust_remote_context
        if present is None:
            names = self._fields.values()
            carrier = {name: headers[name] for name in names if name in headers}
            return remote_context(carrier, trusted=trusted)
        if trusted:
            return context.get_current(), []
        return baggage.clear(), []

    def _exchange(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        span: Span,
        present: Span | None,
        correlation_id: str | None,
    ) -> Exchange:
        stopwatch = None
        if present is None:
            stopwatch = self._stopwatch(scope)
        foreign = present is not None and native_span(scope) is not present
        return Exchange(
            self._options,
            scope,
            receive,
            send,
            span,
            owned=present is None,
            records_errors=not foreign,
            correlation_id=correlation_id,
            stopwatch=stopwatch,
        )

    def _start(self, scope: Scope, headers: Carrier, inner: Context, links: list[Link]) -> Span:
        attributes = RequestAttributes(scope, headers, self._options.redactor())
        return self._tracer.start_span(
            span_method(scope), inner, SpanKind.SERVER, attributes, links
        )

    def _stopwatch(self, scope: Scope) -> Stopwatch | None:
        histogram = self._durations.histogram()
        # FastAPI measures even with tracing switched off
        measured = scope.get("fastapi.telemetry") is not None
        if histogram is None or measured or scope["type"] != "http":
            return None
        return Stopwatch(histogram, {})

    def _with_identity(self, span: Span, scope: Scope, inner: Context) -> Context:
        reader = self._options.identity
        if reader is None:
            return inner
        if not reader.from_baggage:
            # a service that identifies users does not pass a caller's identity on
            inner = without_identity(inner)
        if not (span.is_recording() or self._options.identity_in_baggage):
            return inner
        headers = first_by_name(scope.get("headers", ()))
        identity = call_contained("identify", reader.attributes, headers, inner) or {}
        span.set_attributes(identity)
        if self._options.identity_in_baggage:
            for name, value in identity.items():
                inner = baggage.set_baggage(name, value, inner)
        return inner


def _first_of(headers: Carrier) -> Callable[[str], str | None]:
    def first(name: str) -> str | None:
        return next(iter(headers.get(name.lower(), ())), None)

    return first


def _add_links(span: Span, links: list[Link]) -> None:
    for link in links:
        span.add_link(link.context)
