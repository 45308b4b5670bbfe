"""Find the existing SERVER span of a request, to avoid a second span."""

from __future__ import annotations

from obs_core.integration import context_with, current_span
from opentelemetry.context import Context, create_key, get_value
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
)

from obs_http.server._types import Scope

_CLAIMED = create_key("obs_http.claimed_span")


def native_span(scope: Scope) -> Span | None:
    """Return the span of FastAPI's own tracing (0.142 and later), or None."""
    telemetry = scope.get("fastapi.telemetry")
    if telemetry is None:
        return None
    span: Span | None = getattr(telemetry, "span", None)
    return span


def present_span(scope: Scope) -> Span | None:
    """Return the span that FastAPI, Starlette or contrib has opened for this request, or None.

    A SERVER span that an outer request has claimed does not count: a handler may call another application in
    process.
    """
    native = native_span(scope)
    if native is not None:
        return native
    span = current_span()
    if span is INVALID_SPAN:
        return None
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


def excluded_context() -> Context:
    """Return the current context with an unsampled span, so that nothing below is recorded."""
    ids = RandomIdGenerator()
    nothing = SpanContext(
        ids.generate_trace_id(), ids.generate_span_id(), is_remote=False
    )
    return context_with(NonRecordingSpan(nothing))


def claim(span: Span, context: Context) -> Context:
    """Return `context` with `span` as the current span, claimed by a request."""
    claimed = span.get_span_context()[1]
    return context_with(span, Context({**context, _CLAIMED: claimed}))
