"""The parts that all spans of a tracer share: resource, scope, limits, processors."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.util.instrumentation import (
    InstrumentationInfo,
    InstrumentationScope,
)
from opentelemetry.util.types import Attributes

#: Types whose values are kept as they are; a subclass may do anything, and is left to the SDK.
PLAIN = frozenset({str, bool, int, float})
_TEXT = frozenset({str})


class SpanOrigin:
    """The parts that all spans of a tracer share.

    Attributes:
        room: How many attributes a span may have.
        length: How long a text may be.
        is_short: Whether `length` limits anything.
    """

    def __init__(
        self,
        resource: Resource,
        scope: InstrumentationScope,
        info: InstrumentationInfo,
        limits: SpanLimits,
        processor: SpanProcessor,
    ) -> None:
        self.resource = resource
        self.scope = scope
        self.info = info
        self.limits = limits
        self.processor = processor
        count, length = limits.max_span_attributes, limits.max_span_attribute_length
        self.room: int = sys.maxsize if count is None else count
        self.length: int = sys.maxsize if length is None else length
        self.is_short: bool = length is not None

    def __deepcopy__(self, memo: object) -> SpanOrigin:
        return self

    def holds_plain(self, attributes: Mapping[str, Any]) -> bool:
        """Whether the SDK would keep all `attributes` unchanged."""
        if not _TEXT.issuperset(map(type, attributes)):
            return False
        if not PLAIN.issuperset(map(type, attributes.values())) and not all(
            type(value) in PLAIN or self._is_plain_tuple(value)
            for value in attributes.values()
        ):
            return False
        return "" not in attributes and not (
            self.is_short and self._has_long(attributes)
        )

    def _is_plain_tuple(self, value: object) -> bool:
        """Whether `value` is a tuple of plain text alone, which the SDK keeps too unless text has a limit."""
        return (
            type(value) is tuple
            and not self.is_short
            and set(map(type, value)) == {str}
        )

    def container(self, attributes: Attributes = None) -> BoundedAttributes:
        """Return the SDK's container of attributes, with the limits of a span."""
        limits = self.limits
        return BoundedAttributes(
            limits.max_span_attributes,
            attributes,
            immutable=False,
            max_value_len=limits.max_span_attribute_length,
        )

    def _has_long(self, attributes: Mapping[str, Any]) -> bool:
        return any(type(v) is str and len(v) > self.length for v in attributes.values())
