"""The span of a context, set and read; loads no SDK."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, Span

from obs_core._spans.runtime_context import get_current
from obs_core._spans.tracer import SPAN_KEY


def context_with(span: Span, context: Context | None = None) -> Context:
    """Return `context` (default: the current context) with `span` as the current span."""
    return Context({**(get_current() if context is None else context), SPAN_KEY: span})


def current_span() -> Span:
    """Return the current span, as `opentelemetry.trace.get_current_span` does."""
    found = get_current().get(SPAN_KEY)
    # an abstract class is slow to ask
    if type(found) is NonRecordingSpan or isinstance(found, Span):
        return found
    return INVALID_SPAN
