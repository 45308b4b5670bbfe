"""The span processor that sets correlation ids on spans."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor

from obs_core._correlation.ids import KEY, get_correlation_id


class CorrelationSpanProcessor(SpanProcessor):
    """Sets the correlation id of the context as an attribute of every recorded span."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Set ``correlation_id`` if the context has an id."""
        value = get_correlation_id(parent_context)
        if value is not None:
            span.set_attribute(KEY, value)
