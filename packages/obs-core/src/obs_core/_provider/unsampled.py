"""Cheap spans below an unsampled span, for all libraries."""

from __future__ import annotations

from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind

from obs_core._spans.tracer import SPAN_KEY


class ThriftyTracer(Tracer):
    """The SDK's tracer, except below a local unsampled span, where no sampler is asked.

    The sampler of a set-up keeps a parent's decision. A span below has its parent's context, since nothing is exported. Only
    CLIENT and PRODUCER spans have new ids: each outgoing request carries a new parent id
    (https://www.w3.org/TR/trace-context-2/#parent-id).
    """

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        *args: Any,
        **options: Any,
    ) -> Span:
        """Start a span like the SDK."""
        parent = (get_current() if context is None else context).get(SPAN_KEY)
        if type(parent) is NonRecordingSpan:
            found = parent.get_span_context()
            if found.is_valid and not found.is_remote and not found.trace_flags & 1:
                if kind is SpanKind.CLIENT or kind is SpanKind.PRODUCER:
                    found = self._outgoing(found)
                return NonRecordingSpan(found)
        return super().start_span(name, context, kind, *args, **options)

    def _outgoing(self, found: SpanContext) -> SpanContext:
        span_id = self.id_generator.generate_span_id()
        flags, state = found.trace_flags, found.trace_state
        return SpanContext(found.trace_id, span_id, False, flags, state)


class ThriftyProvider(TracerProvider):
    """The SDK's provider, with thrifty tracers."""

    def get_tracer(self, *args: Any, **options: Any) -> trace.Tracer:
        """Return the SDK's tracer for this scope, made thrifty."""
        tracer = super().get_tracer(*args, **options)
        if type(tracer) is Tracer:
            # a wrapper would hide what the SDK keeps up to date in its own (resource, configuration)
            tracer.__class__ = ThriftyTracer
        return tracer
