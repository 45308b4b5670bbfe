"""`add_span_attributes`: attributes for the span that is current."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.trace import Span, get_current_span
from opentelemetry.util.types import AttributeValue

from obs_core._safety.containment import call_contained


def add_span_attributes(attributes: Mapping[str, AttributeValue | None]) -> None:
    """Set `attributes` on the current span; attributes that are None are left out.

    Accepts OpenTelemetry's types: str, bool, int, float, bytes, and sequences of a single type. Values of another type are
    left out or converted to text, as by the SDK in use. Never raises; without a recording span nothing happens. Any thread
    or task.
    """
    span = get_current_span()
    if span.is_recording():
        call_contained("add_span_attributes", _add, span, attributes)


def _add(span: Span, attributes: Mapping[str, AttributeValue | None]) -> None:
    span.set_attributes(
        {key: value for key, value in attributes.items() if value is not None}
    )
