"""The backends whose panes read other attributes than the stable ones: they are exported a copy of each span."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from obs_core._export.signoz import signoz_attributes
from obs_core._safety.containment import call_contained
from obs_core._spans.light import LightSpan

Shown: TypeAlias = Callable[[ReadableSpan], ReadableSpan]
#: Return a span's attributes as the backend reads them, or None where they are so already.
_ATTRIBUTES: Mapping[
    str, Callable[[Mapping[str, Any], SpanKind], dict[str, Any] | None]
] = {"signoz": signoz_attributes}


def unchanged(span: ReadableSpan) -> ReadableSpan:
    """Return `span`."""
    return span


def for_backend(name: str) -> Shown:
    """Return a function that returns an ended span as the backend `name` reads it. The function never raises."""
    attributes_of = _ATTRIBUTES.get(name)
    if attributes_of is None:
        return unchanged

    def copied(span: ReadableSpan) -> ReadableSpan:
        attributes = attributes_of(span.attributes or {}, span.kind)
        return span if attributes is None else _with_attributes(span, attributes)

    def shown(span: ReadableSpan) -> ReadableSpan:
        return call_contained(f"a span for {name}", copied, span) or span

    return shown


def _with_attributes(span: ReadableSpan, attributes: dict[str, Any]) -> ReadableSpan:
    """Return a copy of the ended `span`: processors of the user may keep the span itself."""
    copied: Any = object.__new__(type(span))
    copied.__dict__.update(span.__dict__)
    if isinstance(span, LightSpan):
        for name in LightSpan.__slots__:
            setattr(copied, name, getattr(span, name))
        copied._attributes = attributes
    else:
        copied._attributes = BoundedAttributes(attributes=attributes)
        copied._attributes.dropped = span.dropped_attributes
    found: ReadableSpan = copied
    return found
