"""Spans that cost next to nothing below one that is not sampled, whichever library starts them."""

from __future__ import annotations

from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.trace import NonRecordingSpan, Span

from obs_core._spans.tracer import SPAN_KEY


class ThriftyTracer(Tracer):
    """The SDK's tracer, but below a local span that is not sampled it asks nobody: all that a span could be there is known.

    The sampler of a set-up always keeps its parent's decision. Such a span has its parent's context: nobody will ever see it,
    and what it calls finds the same trace, tracestate and decision.
    """

    def start_span(
        self, name: str, context: Context | None = None, *args: Any, **options: Any
    ) -> Span:
        """Start a span as the SDK does, whatever library asks for it."""
        parent = (get_current() if context is None else context).get(SPAN_KEY)
        if type(parent) is NonRecordingSpan:
            found = parent.get_span_context()
            if found.is_valid and not found.is_remote and not found.trace_flags & 1:
                return NonRecordingSpan(found)
        return super().start_span(name, context, *args, **options)


class ThriftyProvider(TracerProvider):
    """The SDK's provider, with thrifty tracers."""

    def get_tracer(self, *args: Any, **options: Any) -> trace.Tracer:
        """Return the SDK's tracer for this scope, made thrifty."""
        tracer = super().get_tracer(*args, **options)
        if type(tracer) is Tracer:
            # a wrapper would hide what the SDK keeps up to date in its own (resource, configuration)
            tracer.__class__ = ThriftyTracer
        return tracer
