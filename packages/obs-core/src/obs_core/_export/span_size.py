"""An estimate of the memory that an ended span takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from obs_core._spans.light import LightSpan

#: Bytes of a span without attributes; of an attribute without text; of an event or a link.
_SPAN, _ATTRIBUTE, _PART = 900, 110, 500


def size_of(span: LightSpan) -> int:
    """Return about how many bytes `span` takes, rather too many than too few."""
    size = _SPAN + len(span._name) + _attributes(span._attributes)
    if span._events or span._links:
        parts = [part.attributes for part in span.events]
        parts += [part.attributes for part in span.links]
        size += sum(_PART + _attributes(each or {}) for each in parts)
    if span._status is not LightSpan._status:
        size += len(span._status.description or "")
    return size


def _attributes(attributes: Mapping[str, Any]) -> int:
    size = _ATTRIBUTE * len(attributes)
    for value in attributes.values():
        if type(value) is str:
            size += len(value)
        elif type(value) is tuple:
            size += sum(_ATTRIBUTE + len(str(item)) for item in value)
    return size
