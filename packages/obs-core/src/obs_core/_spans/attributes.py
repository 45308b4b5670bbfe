"""Attributes for the span that is current."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.trace import Span, get_current_span
from opentelemetry.util.types import AttributeValue

from obs_core._safety.containment import call_contained


def add_span_attributes(attributes: Mapping[str, AttributeValue | None]) -> None:
    """Set `attributes` on the current span; those that are None are left out.

    Takes what OpenTelemetry takes: str, bool, int, float, bytes, and sequences of one of these. Anything else is left out or
    made a string, as the SDK in use does. Never raises; does nothing where no span records. Any thread or task.
    """
    span = get_current_span()
    if span.is_recording():
        call_contained("add_span_attributes", _add, span, attributes)


def _add(span: Span, attributes: Mapping[str, AttributeValue | None]) -> None:
    span.set_attributes({key: value for key, value in attributes.items() if value is not None})
