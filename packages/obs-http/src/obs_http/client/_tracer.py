"""CLIENT spans and trace headers: the part common to all instrumented HTTP clients.

Each request sent, redirects and retries included, is a span.
https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping, Sequence
from fnmatch import translate

from obs_core import CorrelationConfig
from obs_core.exceptions import ConfigurationError
from obs_core.integration import (
    call_contained,
    correlation_headers,
    error_type,
    fail,
    is_suppressed,
    outgoing_context,
    package_tracer,
    record_error,
    redactor,
    warn_if_contrib_is_active,
)
from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from obs_http import _environment as environment
from obs_http._headers import HeaderCapture, RawHeaders
from obs_http._metrics import CLIENT as METRIC
from obs_http._metrics import Durations, Stopwatch
from obs_http._patterns import any_of
from obs_http._semconv import CLIENT, older_names
from obs_http.client._hooks import Hook, OnEnd, OnStart
from obs_http.client._request import Call, Hop, Target, current_call
from obs_http.server._attributes import KNOWN_METHODS, bounded_method

_DEFAULT_PORTS = {"http": 80, "https": 443}
_USERINFO = re.compile(r"//[^/\s@'\"]+@")
_PARAMETER = re.compile(r"([?&])([^=&#\s'\"]+=[^&#\s'\")]*)")


class ClientTracer:
    """Starts and ends the CLIENT spans of an instrumented library or client.

    Args:
        library: For messages and variables, for instance ``"httpx"``.
        awaits: Whether asynchronous clients are traced too.
        contrib: Contrib's instrumentor of the same library; while active, no span is started here.

    Other arguments: see `instrument_httpx`. Thread-safe; keeps no state of a request.
    """

    def __init__(
        self,
        library: str,
        *,
        awaits: bool,
        contrib: str,
        on_start: OnStart | None,
        on_end: OnEnd | None,
        capture_request_headers: Sequence[str] | None,
        capture_response_headers: Sequence[str] | None,
        exclude: Sequence[str] | None,
        propagate_to: Sequence[str],
        redact: Sequence[str],
        correlation: CorrelationConfig | None,
        tracer_provider: trace.TracerProvider | None,
        meter_provider: MeterProvider | None,
    ) -> None:
        self._library = library
        self._contrib = contrib
        self.on_start = Hook(f"{library} on_start", on_start, awaits=awaits)
        self.on_end = Hook(f"{library} on_end", on_end, awaits=awaits)
        self._redact = tuple(redact)
        self._request_capture = HeaderCapture(
            "client", "request", capture_request_headers, self._redact
        )
        self._response_capture = HeaderCapture(
            "client", "response", capture_response_headers, self._redact
        )
        self._excluded = _any_glob("exclude", exclude or ())
        self._excluded_anywhere = None
        if exclude is None:
            self._excluded_anywhere = environment.excluded_urls(library.upper())
        self._propagate_to = _any_glob("propagate_to", propagate_to)
        self._correlation = correlation
        self._tracer = package_tracer("obs-http", tracer_provider)
        self._durations = Durations(*METRIC, meter_provider)
        self._older_names = older_names(CLIENT)

    def begin(self, target: Target, headers: MutableMapping[str, str]) -> Hop | None:
        """Start the span of a request and inject its context into `headers`; None: the request is not traced."""
        call = current_call.get()
        if call is None or call.busy or is_suppressed(http=True):
            return None
        if self._excludes(target.url):
            return None
        if warn_if_contrib_is_active(self._contrib, package="obs-http"):
            return None
        return self._begin(call, target, headers)

    def _excludes(self, url: str) -> bool:
        if self._excluded is not None:
            return self._excluded.match(url) is not None
        return self._excluded_anywhere is not None and bool(self._excluded_anywhere.search(url))

    def _begin(self, call: Call, target: Target, headers: MutableMapping[str, str]) -> Hop:
        outer = context.get_current()
        if call.first is not None and not trace.get_current_span(outer).get_span_context().is_valid:
            outer = trace.set_span_in_context(trace.NonRecordingSpan(call.first), outer)
        name = bounded_method(target.method, "HTTP")
        span = self._tracer.start_span(
            name, outer, SpanKind.CLIENT, self._attributes(call, *target)
        )
        inner = trace.set_span_in_context(span, outer)
        call.first = call.first or span.get_span_context()
        call.sent += 1
        if self._propagate_to is None or self._propagate_to.match(target.host):
            self._inject(headers, inner)
        if self._request_capture and span.is_recording():
            span.set_attributes(self._request_capture.attributes(raw_headers(headers)))
        return Hop(span, inner, call, self._stopwatch(target), self._older_names)

    def _stopwatch(self, target: Target) -> Stopwatch | None:
        histogram = self._durations.histogram()
        if histogram is None:
            return None
        attributes: dict[str, AttributeValue] = {
            "server.address": target.host,
            "http.request.method": bounded_method(target.method),
        }
        if (port := _port(target.url, target.port)) is not None:
            attributes["server.port"] = port
        return Stopwatch(histogram, attributes)

    def _attributes(
        self, call: Call, method: str, url: str, host: str, port: int | None
    ) -> dict[str, AttributeValue]:
        attributes: dict[str, AttributeValue] = {
            "http.request.method": bounded_method(method),
            "url.full": self._masked(url),
            "server.address": host,
        }
        if method not in KNOWN_METHODS:
            attributes["http.request.method_original"] = method
        if (port := _port(url, port)) is not None:
            attributes["server.port"] = port
        if call.sent:
            attributes["http.request.resend_count"] = call.sent
        return attributes

    def _masked(self, url: str) -> str:
        if "@" in url or "?" in url:
            return redactor(self._redact).url(url)
        return url

    def _inject(self, headers: MutableMapping[str, str], inner: Context) -> None:
        out = outgoing_context(inner, self._correlation)
        call_contained("the propagator", propagate.inject, headers, out)
        for name, value in correlation_headers(self._correlation, inner).items():
            if name not in headers:
                headers[name] = value

    def succeed(self, hop: Hop, status: int, headers: RawHeaders) -> None:
        """Record the response; 4xx and 5xx are errors of the client's span."""
        span = hop.span
        if not hop.is_observed:
            return
        hop.note("http.response.status_code", status)
        if status >= 400:
            hop.note("error.type", str(status))
            fail(span, str(status))
        if self._response_capture and span.is_recording():
            span.set_attributes(self._response_capture.attributes(headers))

    def fail(self, hop: Hop, error: BaseException) -> None:
        """Record that sending raised `error`. Never raises."""
        if isinstance(error, Exception):
            hop.note("error.type", error_type(error))
            record_error(hop.span, error, scrub=self._scrub)
        elif type(error).__name__ == "CancelledError":
            hop.span.set_attribute("obs.cancelled", True)

    def _scrub(self, text: str) -> str:
        """Mask the credentials in every URL that an error message or a stack trace quotes."""
        return _PARAMETER.sub(self._parameter, _USERINFO.sub("//REDACTED:REDACTED@", text))

    def _parameter(self, match: re.Match[str]) -> str:
        return match[1] + redactor(self._redact).query(match[2])


def _port(url: str, port: int | None) -> int | None:
    return port or _DEFAULT_PORTS.get(url.partition(":")[0])


def _any_glob(option: str, patterns: Sequence[str]) -> re.Pattern[str] | None:
    if isinstance(patterns, str):
        raise ConfigurationError(
            f"{option}={patterns!r} is not a list of globs: write [{patterns!r}]"
        )
    return any_of([*map(translate, patterns)])


def raw_headers(headers: Mapping[str, str | bytes]) -> RawHeaders:
    """Return `headers` as pairs of bytes."""
    return [(_bytes(name), _bytes(value)) for name, value in headers.items()]


def _bytes(value: str | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode("latin-1", "replace")
