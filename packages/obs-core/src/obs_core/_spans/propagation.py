"""Write and read the W3C headers of trace context and baggage directly, where the global propagator is the default."""

from __future__ import annotations

import re
from typing import Any

from opentelemetry import baggage, propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import (
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from obs_core._spans.in_context import context_with
from obs_core._spans.runtime_context import get_current
from obs_core._spans.tracer import BAGGAGE_KEY, SPAN_KEY

Parts = tuple[TextMapPropagator, TextMapPropagator]
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
#: Text that percent-encoding leaves as it is.
_UNRESERVED = re.compile(r"[A-Za-z0-9._-]+")
_BAGGAGE_MEMBER = re.compile(r"([A-Za-z0-9._-]+)=([A-Za-z0-9._-]+)")
# within all limits of the W3C, for a header and for each of its members
_MAX_LENGTH, _MAX_MEMBERS = 4096, 64

# (the global propagator that was looked at, its parts if it is the default)
_looked_at: tuple[object, Parts | None] = (None, None)


def inject(
    carrier: Any, context: Context | None = None, setter: Setter[Any] = default_setter
) -> None:
    """Inject as `opentelemetry.propagate.inject` does, faster where the global propagator is the default (W3C)."""
    parts = _w3c()
    if parts is None:
        propagate.inject(carrier, context, setter)
        return
    current = get_current() if context is None else context
    span = current.get(SPAN_KEY)
    if isinstance(span, Span):
        _inject_ids(span.get_span_context(), carrier, setter)
    if current.get(BAGGAGE_KEY):
        header = _plain_baggage(current[BAGGAGE_KEY])
        if header is None:
            parts[1].inject(carrier, current, setter)
        else:
            setter.set(carrier, "baggage", header)


def _inject_ids(ids: SpanContext, carrier: Any, setter: Setter[Any]) -> None:
    if ids == INVALID_SPAN_CONTEXT:
        return
    trace_id, span_id, _, flags, state = ids[:5]
    setter.set(carrier, "traceparent", f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    if state:
        setter.set(carrier, "tracestate", state.to_header())


def _plain_baggage(entries: object) -> str | None:
    """Return the header of `entries` that need no encoding and reach no limit; otherwise None."""
    if not isinstance(entries, dict) or len(entries) > _MAX_MEMBERS:
        return None
    for key, value in entries.items():
        if not (_is_unreserved(key) and _is_unreserved(value)):
            return None
    header = ",".join([f"{key}={value}" for key, value in entries.items()])
    return header if len(header) <= _MAX_LENGTH else None


def _is_unreserved(text: object) -> bool:
    return type(text) is str and _UNRESERVED.fullmatch(text) is not None


def extract(
    carrier: Any, context: Context | None = None, getter: Getter[Any] = default_getter
) -> Context:
    """Extract as `opentelemetry.propagate.extract` does, faster where the global propagator is the default (W3C)."""
    parts = _w3c()
    if parts is None:
        return propagate.extract(carrier, context, getter)
    trace, members = parts
    ids = _plain_ids(carrier, getter)
    if ids is None:
        found = trace.extract(carrier, context, getter)
    else:
        above = Context() if context is None else context
        found = context_with(NonRecordingSpan(ids), above)
    header = getter.get(carrier, "baggage")
    if not header:
        return found
    member = _BAGGAGE_MEMBER.fullmatch(header[0]) if _is_short_text(header) else None
    if member is None:
        return members.extract(carrier, found, getter)
    return baggage.set_baggage(member[1], member[2], found)


def _plain_ids(carrier: Any, getter: Getter[Any]) -> SpanContext | None:
    """Return the ids of an ordinary ``traceparent`` without ``tracestate``; otherwise None."""
    header = getter.get(carrier, "traceparent")
    if not header or not _is_short_text(header):
        return None
    match = _TRACEPARENT.fullmatch(header[0])
    if match is None or getter.get(carrier, "tracestate") is not None:
        return None
    trace_id, span_id, flags = (int(digits, 16) for digits in match.groups())
    if not trace_id or not span_id:
        return None
    return SpanContext(trace_id, span_id, True, TraceFlags(flags))


def _is_short_text(header: Any) -> bool:
    return (
        type(header) is list
        and type(header[0]) is str
        and len(header[0]) <= _MAX_LENGTH
    )


def _w3c() -> Parts | None:
    """Return the propagators of trace context and baggage, if these two are the global propagator."""
    global _looked_at
    found = propagate.get_global_textmap()
    known, parts = _looked_at
    if found is not known:
        parts = _parts(found)
        _looked_at = (found, parts)
    return parts


def _parts(propagator: TextMapPropagator) -> Parts | None:
    if type(propagator) is not CompositePropagator:
        return None
    parts = tuple(propagator._propagators)
    kinds = [type(part) for part in parts]
    is_default = kinds == [TraceContextTextMapPropagator, W3CBaggagePropagator]
    return (parts[0], parts[1]) if is_default else None
