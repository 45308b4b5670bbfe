"""The trace context in a message: written by the producer, read by a worker's child and main process."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any

from obs_core.integration import (
    call_contained,
    inject,
    kept_reason,
    kept_tracestate,
    outgoing_context,
)
from obs_core.integration import extract as extract_from
from opentelemetry import propagate
from opentelemetry.context import Context, get_current
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

from obs_celery._message import (
    ATTEMPT,
    PREVIOUS,
    RELATION_HEADER,
    SENT_AT,
    TRACEPARENT,
    header,
)

_TRACEPARENT_FORMAT = re.compile(
    "00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})"
)
_TRACESTATE = "tracestate"
_W3C = frozenset({"traceparent", _TRACESTATE, "baggage"})
# under which key a context keeps its span: one look instead of the two calls of the public getter
(_SPAN_KEY,) = set_span_in_context(INVALID_SPAN, Context())


class _RequestGetter(Getter[Any]):
    """Reads the headers of a task's request: top level (protocol 2), or nested (protocol 1, Sentry, eager)."""

    def get(self, carrier: Any, key: str) -> list[str] | None:
        value = header(carrier, key)
        return [value] if isinstance(value, str) else None

    def keys(self, carrier: Any) -> list[str]:
        return [*vars(carrier), *(carrier.headers or ())]


_getter = _RequestGetter()


def extract(request: Any) -> Context:
    """Return the producer's context, by the global propagator; empty where headers are missing or malformed.

    Independent of the context that is current in the pool's thread.
    """
    return (
        _extract_alone(request)
        or call_contained("propagator", extract_from, request, Context(), _getter)
        or Context()
    )


@lru_cache(maxsize=8)
def _fields(propagator: TextMapPropagator) -> frozenset[str]:
    return frozenset(propagator.fields)


@lru_cache(maxsize=8)
def _speaks_w3c(propagator: TextMapPropagator) -> bool:
    return _fields(propagator) == _W3C


def _extract_alone(request: Any) -> Context | None:
    """Read a ``traceparent`` that comes alone, the usual case, at a tenth of the propagators' cost."""
    fields = request.__dict__
    if TRACEPARENT not in fields or "baggage" in fields or "tracestate" in fields:
        return None
    if "headers" in fields and "baggage" in (fields["headers"] or ()):
        return None
    found = _TRACEPARENT_FORMAT.fullmatch(str(fields[TRACEPARENT]))
    if found is None or not _speaks_w3c(propagate.get_global_textmap()):
        return None
    is_sampled = int(found[3], 16) & TraceFlags.SAMPLED
    span = NonRecordingSpan(_span_context(found)) if is_sampled else _Unsampled(found)
    return Context({_SPAN_KEY: span})


def _span_context(traceparent: re.Match[str]) -> SpanContext:
    trace_id, span_id, flags = traceparent.groups()
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16))
    )


class _Unsampled(NonRecordingSpan):
    """An unsampled producer; most tasks never need the parsed ``traceparent``."""

    def __init__(self, traceparent: re.Match[str]) -> None:
        self._traceparent = traceparent

    def get_span_context(self) -> SpanContext:
        return _span_context(self._traceparent)

    def __repr__(self) -> str:
        return f"NonRecordingSpan({self.get_span_context()!r})"


def write_headers(
    headers: MutableMapping[str, Any], retries: int, previous: str | None
) -> None:
    """Write the current context and the time into a message's `headers`, in place.

    A retry keeps the context of the repeated message: attempts are siblings. The previous attempt is named by `previous`,
    or else by the span id that the main process had drawn.
    """
    drawn = headers.pop(ATTEMPT, None)
    if PREVIOUS in headers:
        del headers[PREVIOUS]
    if retries and (previous or drawn) and _has_context(headers):
        previous = previous or _drawn_attempt(headers, str(drawn))
        if previous:
            headers[PREVIOUS] = previous
    else:
        without_context(headers)
        call_contained("propagator", inject, headers, outgoing_context(get_current()))
    headers[SENT_AT] = time.time()


def without_context(headers: MutableMapping[str, Any]) -> None:
    """Take the propagator's own keys out of `headers`, in place."""
    for key in _fields(propagate.get_global_textmap()):
        if key in headers:
            del headers[key]


def repeat_context(request: Any, headers: MutableMapping[str, Any]) -> None:
    """Copy the context that `request` came with into the `headers` of a retry, in place.

    Celery repeats all headers, unless Sentry or ddtrace has written nested ``headers``: then the nested ones alone.
    """
    for key in (*_fields(propagate.get_global_textmap()), RELATION_HEADER):
        value = header(request, key)
        if value is not None:
            headers[key] = value


def tell_kept(span: Span, headers: MutableMapping[str, Any]) -> None:
    """Tell the retry of the attempt `span`, whose `headers` are repeated, that its unsampled request is kept."""
    reason = kept_reason(span)
    if reason is not None and _TRACESTATE in _fields(propagate.get_global_textmap()):
        headers[_TRACESTATE] = kept_tracestate(headers.get(_TRACESTATE), reason)


def _has_context(headers: Mapping[str, Any]) -> bool:
    return any(key in headers for key in _fields(propagate.get_global_textmap()))


def _drawn_attempt(headers: Mapping[str, Any], drawn: str) -> str | None:
    parent = _TRACEPARENT_FORMAT.fullmatch(str(headers.get(TRACEPARENT)))
    if parent is None or len(drawn) != 16:
        return None
    return f"{parent[1]}-{drawn}"


def lost_attempt(headers: object) -> Context | None:
    """Return a context in the attempt that the main process sends again after losing the child; else None."""
    if not isinstance(headers, Mapping) or ATTEMPT not in headers:
        return None
    parent = _TRACEPARENT_FORMAT.fullmatch(str(headers.get(TRACEPARENT)))
    if parent is None:
        return None
    lost = SpanContext(
        int(parent[1], 16),
        int(headers[ATTEMPT], 16),
        True,
        TraceFlags(int(parent[3], 16)),
    )
    return set_span_in_context(NonRecordingSpan(lost))


def span_context_of(context: Context) -> SpanContext | None:
    """Return the valid span context of `context`, or None."""
    span: Any = context.get(_SPAN_KEY)
    if span is None:
        return None
    found: SpanContext = span.get_span_context()
    return found if found.is_valid else None


def is_unsampled(context: Context) -> bool:
    """Whether the span of `context` is unsampled."""
    span: Any = context.get(_SPAN_KEY)
    if span is None or type(span) is _Unsampled:
        return span is not None
    _, _, _, flags, _, is_valid = span.get_span_context()
    return is_valid and not flags & TraceFlags.SAMPLED
