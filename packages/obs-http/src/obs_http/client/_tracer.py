"""CLIENT spans of HTTP clients: each request sent, redirects and retries included, is a span."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, Protocol

from obs_core.integration import (
    KEPT_HEADER,
    Globs,
    call_contained,
    context_with,
    error_type,
    fail,
    get_current,
    is_suppressed,
    keeping,
    native_call,
    note_kept,
    package_tracer,
    record_error,
    span_of,
)
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind

from obs_http._attributes import bounded_method
from obs_http._environment import excluded_urls
from obs_http._headers import HeaderCapture, RawHeaders
from obs_http._hooks import Hook
from obs_http._measurement import Measurement, body_length
from obs_http._metrics import Metrics
from obs_http._semconv import CLIENT, add_former_names
from obs_http.client._attributes import (
    Answer,
    Target,
    metric_attributes,
    scrubber,
    span_attributes,
)
from obs_http.client._options import ClientOptions
from obs_http.client._propagation import Propagation
from obs_http.client._request import Call, ClientRequest, current_call

_OR_ASYNCHRONOUS = ", or instrument an asynchronous client"


class Library(Protocol):
    """Reads the requests and responses of a client library.

    Attributes:
        name: For messages and variables, for instance ``"httpx"``.
        awaits: Whether a client of the library, or the client that is traced, is asynchronous.
    """

    name: str
    awaits: bool

    def is_left_to_contrib(self) -> bool:
        """Whether contrib's instrumentation traces the library now."""

    def target(self, request: Any) -> Target:
        """Return the destination of `request`."""

    def headers(self, message: Any) -> RawHeaders:
        """Return the headers of a request or a response."""

    def answer(self, response: Any) -> Answer:
        """Return the first line of `response`, and the number of attempts made below the client."""


def _excludes(
    library: str, exclude: Sequence[str] | None
) -> Callable[[str], object] | None:
    """Return a function that tells excluded URLs, by the option or else by the standard variables."""
    if exclude is not None:
        return Globs(exclude).matches
    pattern = excluded_urls(library.upper())
    return pattern and pattern.search


class ClientTracer:
    """Starts and ends the CLIENT spans of a library or a client. Thread-safe; keeps no state of a request.

    Raises:
        ConfigurationError: An option is wrong.
    """

    def __init__(self, library: Library, options: ClientOptions) -> None:
        self._library = library
        name, awaits = library.name, library.awaits
        can: dict[str, Any] = {"awaits": awaits, "also": _OR_ASYNCHRONOUS}
        self.on_start = Hook(f"{name} on_start", options.on_start, **can)
        self.on_end = Hook(f"{name} on_end", options.on_end, **can)
        self._redact = tuple(options.redact)
        self._scrub = scrubber(self._redact)
        self._request_capture = HeaderCapture(
            "client", "request", options.capture_request_headers, self._redact
        )
        self._response_capture = HeaderCapture(
            "client", "response", options.capture_response_headers, self._redact
        )
        self._excludes = _excludes(name, options.exclude)
        self._propagation = Propagation(options.propagate_to, options.correlation)
        self._tracer = package_tracer("obs-http", options.tracer_provider)
        self._former_names = CLIENT.in_force()
        self._metrics = Metrics("client", options.meter_provider, self._former_names)

    def start(self, request: Any) -> ClientRequest | None:
        """Start the span of `request` and write its context into the headers; None: `request` is not traced."""
        call = current_call.get()
        if call is None or call.busy or is_suppressed(http=True):
            return None
        target = self._library.target(request)
        if self._excludes is not None and self._excludes(target.url):
            return None
        if self._library.is_left_to_contrib():
            return None
        return self._start(call, target, request)

    def _start(self, call: Call, target: Target, request: Any) -> ClientRequest:
        outer = get_current()
        above = span_of(outer)
        if call.first is not None and not above.get_span_context().is_valid:
            above, outer = call.first, context_with(call.first, outer)
        native = native_call(above)
        if native is not None and native.is_http:
            return self._only_measured(call, target, outer, request)
        attributes = span_attributes(target, self._redact, call.sent)
        name = bounded_method(target.method, "HTTP")
        span = self._tracer.start_span(name, outer, SpanKind.CLIENT, attributes)
        inner = context_with(span, outer)
        call.first = call.first or span
        call.sent += 1
        headers: MutableMapping[str, str] = request.headers
        is_told = self._propagation.inject(headers, target.host, inner)
        self._capture(self._request_capture, span, request)
        measurement = self._measurement(target, headers)
        started = ClientRequest(self, call, span, inner, measurement)
        started.is_told = is_told
        return started

    def _only_measured(
        self, call: Call, target: Target, outer: Context, request: Any
    ) -> ClientRequest:
        """Leave span and headers of a request to the library whose call it is; its duration is still measured."""
        call.sent += 1
        measurement = self._measurement(target, request.headers)
        return ClientRequest(self, call, INVALID_SPAN, outer, measurement)

    def _measurement(
        self, target: Target, headers: MutableMapping[str, str]
    ) -> Measurement | None:
        made = self._metrics.instruments()
        if made is None:
            return None
        attributes = metric_attributes(target)
        measurement = Measurement(made, attributes, attributes)
        measurement.request_bytes = body_length(headers.get("content-length"))
        if measurement.has_former:
            measurement.former = {"http.scheme": target.url.partition(":")[0]}
        return measurement

    def _capture(self, capture: HeaderCapture, span: Span, message: Any) -> None:
        if capture and span.is_recording():
            span.set_attributes(capture.attributes(self._library.headers(message)))

    def answered(self, request: ClientRequest, response: Any) -> None:
        """Record `response`; 4xx and 5xx are errors of the client's span."""
        measurement = request.measurement
        if measurement is None and not request.span.is_recording():
            return
        status, version, resends = self._library.answer(response)
        if measurement is not None:
            length = response.headers.get("content-length")
            measurement.begin_response(status, length)
        if resends:
            request.span.set_attribute("http.request.resend_count", resends)
        if version is not None:
            request.note("network.protocol.version", version)
        request.note("http.response.status_code", status)
        if status >= 400:
            request.note("error.type", str(status))
            fail(request.span, str(status))
        if keeping.is_on and request.is_told:
            note_kept(request.span, response.headers.get(KEPT_HEADER))
        self._capture(self._response_capture, request.span, response)

    def failed(self, request: ClientRequest, error: BaseException) -> None:
        """Record that sending raised `error`. Never raises."""
        if isinstance(error, Exception):
            request.note("error.type", error_type(error))
            record_error(request.span, error, scrub=self._scrub)
        elif type(error).__name__ == "CancelledError":
            request.span.set_attribute("obs.cancelled", True)

    def end(self, span: Span) -> None:
        """End `span`. Never raises."""
        if self._former_names and span.is_recording():
            call_contained(
                "adding former names to a span",
                add_former_names,
                span,
                self._former_names,
                {},
            )
        call_contained("ending a request's span", span.end)
