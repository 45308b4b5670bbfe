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
    for event in span._events:
        size += _PART + _attributes(event.attributes or {})
    for link in span._links:
        size += _PART + _attributes(link.attributes or {})
    if span._status.description is not None:
        size += len(span._status.description)
    return size


def _attributes(attributes: Mapping[str, Any]) -> int:
    size = _ATTRIBUTE * len(attributes)
    for value in attributes.values():
        if type(value) is str:
            size += len(value)
        elif type(value) is tuple:
            size += sum(_ATTRIBUTE + len(str(item)) for item in value)
    return size
