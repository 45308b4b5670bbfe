"""Cheap spans below an unsampled span, for all libraries."""

from __future__ import annotations

from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind


def unsampled_below(
    parent: NonRecordingSpan, kind: SpanKind, ids: IdGenerator
) -> NonRecordingSpan | None:
    """Return the span below a local unsampled `parent`, where no sampler is asked; None below any other parent.

    The sampler of a set-up keeps a parent's decision. A span below has its parent's context, since nothing is exported. Only
    CLIENT and PRODUCER spans have new ids: each outgoing request carries a new parent id
    (https://www.w3.org/TR/trace-context-2/#parent-id).
    """
    found = parent.get_span_context()
    if not found.is_valid or found.is_remote or found.trace_flags & 1:
        return None
    if kind is SpanKind.CLIENT or kind is SpanKind.PRODUCER:
        span_id, flags, state = (
            ids.generate_span_id(),
            found.trace_flags,
            found.trace_state,
        )
        found = SpanContext(found.trace_id, span_id, False, flags, state)
    return NonRecordingSpan(found)
