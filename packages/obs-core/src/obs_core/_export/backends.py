"""Spans as they are exported: in the conventions' words, and with what the panes of a backend read beside the stable names.

Where something differs, a copy of the span is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from obs_core._export.signoz import signoz_attributes
from obs_core._integrations.native import in_conventions_words, native_call
from obs_core._safety.containment import call_contained
from obs_core._spans.light import LightSpan

Shown: TypeAlias = Callable[[ReadableSpan], ReadableSpan]
#: Return a span's attributes as the backend reads them, or None where they are so already.
_ATTRIBUTES: Mapping[
    str, Callable[[Mapping[str, Any], SpanKind], dict[str, Any] | None]
] = {"signoz": signoz_attributes}
_NO_NAMES: Mapping[str, str] = {}


def for_backend(name: str) -> Shown:
    """Return a function that returns an ended span as the backend `name` reads it. The function never raises."""
    attributes_of, label = _ATTRIBUTES.get(name), f"a span for {name}"

    def copied(span: ReadableSpan) -> ReadableSpan:
        tracer = native_call(span)
        names = tracer.names if tracer else _NO_NAMES
        if attributes_of is None and not names:
            return span
        given = span.attributes or {}
        found = _named(given, names)
        if attributes_of is not None:
            found = attributes_of(found or given, span.kind) or found
        return span if found is None else _with_attributes(span, found)

    def shown(span: ReadableSpan) -> ReadableSpan:
        return call_contained(label, copied, span) or span

    return shown


def _named(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the attributes of a library that traces itself under the conventions' `names`; None: they are so already."""
    if names.keys().isdisjoint(given):
        return None
    return dict(in_conventions_words(names, key, value) for key, value in given.items())


def _with_attributes(span: ReadableSpan, attributes: dict[str, Any]) -> ReadableSpan:
    """Return a copy of the ended `span`: processors of the user may keep the span itself."""
    is_light = isinstance(span, LightSpan)
    copied: Any = object.__new__(LightSpan if is_light else type(span))
    copied.__dict__.update(span.__dict__)
    if is_light:
        for name in LightSpan.__slots__:
            setattr(copied, name, getattr(span, name))
        copied._attributes = attributes
    else:
        copied._attributes = BoundedAttributes(attributes=attributes)
        copied._attributes.dropped = span.dropped_attributes
    found: ReadableSpan = copied
    return found
