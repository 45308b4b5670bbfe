"""Find the existing SERVER span of a request, to avoid a second span."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context, create_key, get_value, set_value
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind

from obs_http.server._types import Scope

_CLAIMED = create_key("obs_http.claimed_span")


def native_span(scope: Scope) -> Span | None:
    """Return the span of FastAPI's own tracing (0.142 and later), or None."""
    span = getattr(scope.get("fastapi.telemetry"), "span", None)
    if isinstance(span, Span):
        return span
    return None


def present_span(scope: Scope) -> Span | None:
    """Return the span that FastAPI, Starlette or contrib has opened for this request, or None.

    A SERVER span that an outer request has claimed does not count: a handler may call another application in
    process.
    """
    native = native_span(scope)
    if native is not None:
        return native
    span = trace.get_current_span()
    found = span.get_span_context()
    if not found.is_valid or found.is_remote or get_value(_CLAIMED) == found.span_id:
        return None
    is_server = getattr(span, "kind", None) is SpanKind.SERVER
    if not span.is_recording():
        is_server = bool(scope.get("starlette.opentelemetry"))
    if is_server:
        return span
    return None


def keep_to_ourselves(scope: Scope) -> None:
    """Tell FastAPI and Starlette that this request has a span already."""
    scope.setdefault("fastapi.telemetry", None)
    scope.setdefault("starlette.opentelemetry", True)


def unsampled_context() -> Context:
    """Return the current context with an unsampled span, so that nothing below is recorded."""
    ids = RandomIdGenerator()
    nothing = SpanContext(
        ids.generate_trace_id(), ids.generate_span_id(), is_remote=False
    )
    return trace.set_span_in_context(NonRecordingSpan(nothing))


def claim(span: Span, context: Context) -> Context:
    """Return `context` with `span` as the current span, claimed by a request."""
    return set_value(
        _CLAIMED,
        span.get_span_context().span_id,
        trace.set_span_in_context(span, context),
    )
