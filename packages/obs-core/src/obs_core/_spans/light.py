"""A span with the behaviour of the SDK's span at a quarter of the cost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from time import time_ns
from types import MappingProxyType
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import (
    Event,
    EventBase,
    ReadableSpan,
    Span,
    SpanProcessor,
    logger,
)
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util.types import Attributes

from obs_core._spans.origin import PLAIN, SpanOrigin

_CALLS_ON_ENDING = hasattr(SpanProcessor, "_on_ending")
_CLEANS_MAPPINGS = hasattr(BoundedAttributes, "_set_items")


class _Shared:
    """A private attribute of the SDK's span, with the origin's value until set on a span."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, span: LightSpan | None, owner: type) -> Any:
        return self if span is None else getattr(span._origin, self._name)


class _Lock:
    """The lock of a span, made at the first use."""

    def __get__(self, span: LightSpan | None, owner: type) -> Any:
        return (
            self
            if span is None
            else span.__dict__.setdefault("_lock", threading.RLock())
        )


class LightSpan(Span):
    """A span whose attributes are a plain dict; events, links and the lock are made at the first use.

    No lock is taken where a span starts, is given plain attributes and ends: safe in signal handlers and finalizers. An
    attribute that is set while another thread ends the span is either exported or lost; the dict of an ended span never
    changes. At the end, processors are given this span, not a copy. Threads that set attributes at the very same moment
    may exceed the limit by an attribute each.
    """

    __slots__ = (
        *("_name", "_context", "_parent", "_kind", "_start_time", "_end_time"),
        *("_attributes", "_open", "_origin"),
    )

    _name: str
    _context: SpanContext
    _parent: SpanContext | None
    _kind: SpanKind
    _start_time: int
    _end_time: int | None
    _attributes: dict[str, Any]
    _open: list[None]
    _origin: SpanOrigin

    _status = Status(StatusCode.UNSET)
    _events: Sequence[Event] = ()
    _links: Sequence[Link] = ()
    _dropped = 0
    _record_exception = True
    _set_status_on_exception = True
    _trace_config = None
    _sampler = None
    _record_end_metrics = None
    _lock = _Lock()
    _resource = _Shared("resource")
    _instrumentation_scope = _Shared("scope")
    _instrumentation_info = _Shared("info")
    _limits = _Shared("limits")
    _span_processor = _Shared("processor")

    def get_span_context(self) -> SpanContext:
        """Return the ids."""
        return self._context

    @property
    def attributes(self) -> Attributes:
        """The attributes, read-only; of a span that has not ended, a view that changes with the span."""
        if self._end_time is None:
            return MappingProxyType(self._bounded(self._attributes))
        return MappingProxyType(self._attributes)

    @property
    def dropped_attributes(self) -> int:
        """How many attributes were invalid or over the limit."""
        return self._dropped + super().dropped_attributes

    def set_attribute(self, key: str, value: Any) -> None:
        """Set an attribute."""
        # read before the end is looked up: the end of the span replaces the dict afterwards
        attributes, origin = self._attributes, self._origin
        if self._end_time is not None:
            logger.warning("Setting attribute on ended span.")
        elif (
            (type(value) in PLAIN)
            and type(key) is str
            and key
            and len(attributes) < origin.room
            and not (
                origin.is_short and type(value) is str and len(value) > origin.length
            )
        ):
            if key in attributes:
                attributes.pop(key, None)
            attributes[key] = value
        else:
            self._set_as_the_sdk(attributes, _set_one, key, value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several attributes."""
        own, origin = self._attributes, self._origin
        if self._end_time is not None:
            logger.warning("Setting attribute on ended span.")
        elif (
            type(attributes) is dict
            and len(own) + len(attributes) <= origin.room
            and origin.holds_plain(attributes)
        ):
            if own:
                for key in own.keys() & attributes.keys():
                    own.pop(key, None)
            own.update(attributes)
        else:
            self._set_as_the_sdk(own, _set_all, attributes)

    def _set_as_the_sdk(
        self, own: dict[str, Any], set_in: Callable[..., None], *given: Any
    ) -> None:
        """Let the SDK's container check, convert, cut and evict, on the dict of this span."""
        with self._lock:
            bounded = self._bounded(own)
            try:
                set_in(bounded, *given)
            finally:
                self._dropped = bounded.dropped
                if (
                    bounded._dict is not own
                ):  # 1.36 and earlier, when the container is full
                    self._attributes = dict(bounded._dict)

    def _take_cleaned(self, attributes: Mapping[str, Any]) -> None:
        """Start with `attributes` as cleaned by the SDK's container."""
        bounded = self._origin.container(MappingProxyType(attributes))
        self._attributes = dict(bounded._dict)
        if bounded.dropped:
            self._dropped = bounded.dropped

    def _bounded(self, attributes: dict[str, Any]) -> BoundedAttributes:
        """Return the SDK's container around `attributes`."""
        bounded = self._origin.container()
        bounded._dict, bounded.dropped = attributes, self._dropped
        return bounded

    def _add_event(self, event: EventBase) -> None:
        if "_events" not in self.__dict__:
            self.__dict__.setdefault("_events", BoundedList(self._limits.max_events))
        super()._add_event(event)

    def _add_link(self, link: Link) -> None:
        if "_links" not in self.__dict__:
            self.__dict__.setdefault("_links", self._new_links(()))
        super()._add_link(link)

    def update_name(self, name: str) -> None:
        """Set the name."""
        if self._end_time is None:
            self._name = name
        else:
            logger.warning("Tried calling %s on an ended span.", "update_name")

    def end(self, end_time: int | None = None) -> None:
        """End the span, once."""
        try:
            self._open.pop()
        except IndexError:
            logger.warning("Calling end() on an ended span.")
            return
        self._end_time = time_ns() if end_time is None else end_time
        self._attributes = self._attributes.copy()
        processor = self._origin.processor
        if _CALLS_ON_ENDING:
            processor._on_ending(self)
        processor.on_end(self)

    def _readable_span(self) -> ReadableSpan:
        readable = super()._readable_span()
        readable._attributes = self._bounded(self._attributes)
        return readable


def _set_one(bounded: BoundedAttributes, key: str, value: Any) -> None:
    bounded[key] = value


def _set_all(bounded: BoundedAttributes, attributes: Mapping[str, Any]) -> None:
    if _CLEANS_MAPPINGS:
        bounded._set_items(attributes)
    else:
        for key, value in attributes.items():
            bounded[key] = value


def new_span(
    origin: SpanOrigin,
    name: str,
    context: SpanContext,
    parent: SpanContext | None,
    kind: SpanKind,
    attributes: Attributes,
    start_time: int | None,
    cls: type[LightSpan] = LightSpan,
) -> LightSpan:
    """Return a span that has started, before any processor has seen the span."""
    span: LightSpan = _new(cls)
    span._name = name
    span._context = context
    span._parent = parent
    span._kind = kind
    span._origin = origin
    span._open = [None]
    span._end_time = None
    if not attributes:
        span._attributes = {}
    elif (
        type(attributes) is dict
        and len(attributes) <= origin.room
        and origin.holds_plain(attributes)
    ):
        span._attributes = attributes.copy()
    else:
        span._take_cleaned(attributes)
    span._start_time = time_ns() if start_time is None else start_time
    return span


_new = object.__new__
