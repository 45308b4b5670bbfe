"""The start of a request: read headers, caller's context and existing span once, and open a span."""

from __future__ import annotations

from obs_core import get_correlation_id
from obs_core.integration import attach_correlation, call_contained, get_current
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind

from obs_http._headers import by_name, first_by_name
from obs_http._measurement import Measurement, body_length
from obs_http._metrics import Metrics
from obs_http.server._attributes import (
    RequestAttributes,
    active_attributes,
    enrich,
    former_metric_attributes,
    span_method,
)
from obs_http.server._entry import Entry
from obs_http.server._existing_span import (
    claim,
    keep_to_ourselves,
    native_span,
    present_span,
)
from obs_http.server._identity import IdentityReader, without_identity
from obs_http.server._options import Settings
from obs_http.server._outcome import Outcome
from obs_http.server._propagation import Carrier, propagation_fields, remote_context
from obs_http.server._request import ServerRequest
from obs_http.server._types import ENTRY, MARK, Receive, Scope, Send


class Arrival:
    """A request as it arrives, read once.

    Attributes:
        headers: The values of the wanted headers, by lower-case name.
        present: The SERVER span that FastAPI, Starlette or contrib has opened; None: no span yet.
        context: The caller's context, or the context of `present`, with the correlation id.
        records_errors: Whether an exception of the application is ours to record: contrib records on its own spans.
        links: Links to the caller's span, if the caller's trace is not continued.
    """

    __slots__ = ("context", "headers", "links", "present", "records_errors", "scope")

    def __init__(
        self, scope: Scope, settings: Settings, wanted: dict[bytes, str]
    ) -> None:
        self.scope = scope
        entry: Entry | None = scope.get(ENTRY)
        self.headers = headers_of(scope, entry, wanted)
        native = native_span(scope)
        self.present = native or present_span(scope)
        self.records_errors = self.present is native
        parent, self.links = self._parent(trusted=settings.options.trust_remote_context)
        if self.present is not None and entry is not None:
            self.links = entry.links
        self.context = attach_correlation(self._header, parent, settings.correlation)

    def _parent(self, *, trusted: bool) -> tuple[Context, list[Link]]:
        if self.present is None:
            names = propagation_fields().values()
            carrier: Carrier = {
                name: self.headers[name] for name in names if name in self.headers
            }
            return remote_context(carrier, trusted=trusted)
        if trusted:
            return get_current(), []
        return baggage.clear(), []

    def _header(self, name: str) -> str | None:
        found = self.headers.get(name.lower())
        return found[0] if found else None


def headers_of(
    scope: Scope, entry: Entry | None, wanted: dict[bytes, str]
) -> dict[str, list[str]]:
    """Return the `wanted` headers: as read at the entry, unless a middleware has changed the headers since."""
    if entry is not None:
        entry.show_headers()
        if entry.has_read(scope.get("headers"), wanted):
            return entry.headers
    return by_name(scope.get("headers", ()), wanted)


class Opening:
    """Opens the requests of a middleware; keeps no state of a request."""

    __slots__ = ("_fields", "_metrics", "_names", "_settings", "_tracer", "_wanted")

    def __init__(
        self, settings: Settings, tracer: trace.Tracer, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._tracer = tracer
        self._metrics = metrics
        names = (*settings.correlation.headers, "host", "user-agent", "content-length")
        self._names = {name.lower().encode(): name.lower() for name in names}
        self._fields: dict[bytes, str] = {}
        self._wanted = self._names

    def __call__(
        self, scope: Scope, receive: Receive, send: Send
    ) -> tuple[ServerRequest, Context]:
        """Open a request; return the request, and the context of the application."""
        arrival = Arrival(scope, self._settings, self.header_names())
        span = self._span(arrival)
        outcome = Outcome(
            scope,
            span,
            owned=arrival.present is None,
            records_errors=arrival.records_errors,
            measurement=self._measurement(arrival),
            former_names=self._settings.former_names,
        )
        correlation_id = get_correlation_id(arrival.context)
        request = ServerRequest(
            self._settings, scope, receive, send, outcome, correlation_id
        )
        scope[MARK] = request
        keep_to_ourselves(scope)
        if span.is_recording():
            enrich(outcome, scope, self._settings, correlation_id)
        return request, claim(span, self._with_identity(span, arrival))

    def header_names(self) -> dict[bytes, str]:
        """Return the headers that are read, by raw name."""
        fields = propagation_fields()
        if fields is not self._fields:
            self._fields, self._wanted = fields, {**fields, **self._names}
        return self._wanted

    def _span(self, arrival: Arrival) -> Span:
        if arrival.present is not None:
            for link in arrival.links:
                arrival.present.add_link(link.context)
            return arrival.present
        attributes = RequestAttributes(
            arrival.scope, arrival.headers, self._settings.redactor()
        )
        return self._tracer.start_span(
            span_method(arrival.scope),
            arrival.context,
            SpanKind.SERVER,
            attributes,
            arrival.links,
        )

    def _measurement(self, arrival: Arrival) -> Measurement | None:
        # FastAPI measures even with tracing switched off, but no sizes; contrib measures everything
        scope = arrival.scope
        by_fastapi = scope.get("fastapi.telemetry") is not None
        by_others = arrival.present is not None and not by_fastapi
        if by_others or scope["type"] != "http":
            return None
        made = self._metrics.instruments(beside_native=by_fastapi)
        if made is None:
            return None
        measurement = Measurement(made, {}, active_attributes(scope))
        length = arrival.headers.get("content-length")
        measurement.request_bytes = body_length(length[0]) if length else None
        if measurement.has_former:
            measurement.former = former_metric_attributes(scope)
        return measurement

    def _with_identity(self, span: Span, arrival: Arrival) -> Context:
        reader = self._settings.identity
        if reader is None:
            return arrival.context
        return _identified(
            reader, span, arrival, in_baggage=self._settings.options.identity_in_baggage
        )


def _identified(
    reader: IdentityReader, span: Span, arrival: Arrival, *, in_baggage: bool
) -> Context:
    """Record the user of a request on `span`; return the context of the application."""
    inner = arrival.context
    if not reader.from_baggage:
        # a service that identifies users does not pass a caller's identity on
        inner = without_identity(inner)
    if not (span.is_recording() or in_baggage):
        return inner
    headers = first_by_name(arrival.scope.get("headers", ()))
    identity = call_contained("identify", reader.attributes, headers, inner) or {}
    span.set_attributes(identity)
    if in_baggage:
        for name, value in identity.items():
            inner = baggage.set_baggage(name, value, inner)
    return inner
