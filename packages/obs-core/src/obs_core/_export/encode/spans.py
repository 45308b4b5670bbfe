"""Spans as bytes of OTLP's Span message (https://github.com/open-telemetry/opentelemetry-proto)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    SpanContext,
    Status,
    TraceState,
)

from obs_core._export.encode.attributes import (
    MAX_KEPT_CHARACTERS,
    AttributeTable,
    plain,
)
from obs_core._export.encode.recent import Recent
from obs_core._export.encode.sdk import span_by_sdk
from obs_core._export.encode.wire import FIELD, delimited, optional, utf8, varint
from obs_core._spans.light import LightSpan

#: Its properties copy or wrap what is read here; those of a class that has other properties are asked.
_SDK = ReadableSpan
_LOW = (1 << 64) - 1
_ids = Struct(">2sQQ2sQ").pack
_parent = Struct(">2sQ").pack
_kind_and_times = Struct("<BBBQBQ").pack
_time = Struct("<BQ").pack
#: Whether the parent is remote is known, and it is not; it is: the flags of a span or, under another tag, of a link.
_IS_LOCAL, _IS_REMOTE = b"\x00\x01\x00\x00", b"\x00\x03\x00\x00"
_LOCAL_PARENT, _REMOTE_PARENT = b"\x85\x01" + _IS_LOCAL, b"\x85\x01" + _IS_REMOTE
_LINK_FLAGS = {False: b"\x35" + _IS_LOCAL, True: b"\x35" + _IS_REMOTE}
_UNSET = b"\x7a\x00"
#: What a light span has until it is given something else.
_NO_STATUS: Status = LightSpan._status
_NOTHING: object = LightSpan._events
_NO_STATE: TraceState = INVALID_SPAN_CONTEXT.trace_state


class SpanEncoder:
    """Encodes spans; thread-safe. Tables keep the bytes of names and attributes: see `Recent` for their bounds."""

    def __init__(self) -> None:
        self._attributes = AttributeTable(FIELD[9])
        self._event_attributes = AttributeTable(FIELD[3])
        self._link_attributes = AttributeTable(FIELD[4])
        self._names: Recent[str, bytes] = Recent(max_entries=1024)

    def encode(self, span: ReadableSpan) -> bytes:
        """Return the Span message.

        Raises:
            Exception: Neither this encoder nor the SDK's can encode the span.
        """
        try:
            return self._encode(span)
        except Exception:  # noqa: BLE001 - of a type that is not expected, out of range, without UTF-8: the SDK decides
            return span_by_sdk(span)

    def _encode(self, span: ReadableSpan) -> bytes:
        read = _read_light if type(span) is LightSpan else _read
        ids, parent, name, kind, start, end, attributes, dropped, status = read(span)
        trace_id, span_id, _, _, state, _ = ids
        parts = [
            _ids(b"\x0a\x10", trace_id >> 64, trace_id & _LOW, b"\x12\x08", span_id)
        ]
        if state is not _NO_STATE and state:
            parts.append(_state(state))
        flags = _LOCAL_PARENT
        if parent is not None:
            parts.append(_parent(b"\x22\x08", parent[1]))
            if parent[2]:
                flags = _REMOTE_PARENT
        parts.append(self._names.young.get(name) or self._name(name))
        parts.append(_kind_and_times(0x30, kind._value_ + 1, 0x39, start, 0x41, end))
        if attributes:
            parts += self._attributes.encoded(attributes)
        if dropped:
            parts.append(b"\x50" + varint(dropped))
        if not _is_bare(span):
            self._add_events_and_links(parts, span)
        parts.append(_UNSET if status is _NO_STATUS else _status(status))
        parts.append(flags)
        return b"".join(parts)

    def _add_events_and_links(self, parts: list[bytes], span: ReadableSpan) -> None:
        if events := _events(span):
            parts += map(self._event, events)
        if dropped := span.dropped_events:
            parts.append(b"\x60" + varint(dropped))
        if links := _links(span):
            parts += map(self._link, links)
        if dropped := span.dropped_links:
            parts.append(b"\x70" + varint(dropped))

    def _name(self, name: str) -> bytes:
        found = self._names.recall(name)
        if found is None:
            found = delimited(FIELD[5], utf8(name))
            if type(name) is str and len(name) <= MAX_KEPT_CHARACTERS:
                self._names.keep(name, found)
        return found

    def _event(self, event: Event) -> bytes:
        parts = [_time(0x09, event.timestamp), delimited(FIELD[2], utf8(event.name))]
        if attributes := plain(event.attributes):
            parts += self._event_attributes.encoded(attributes)
        if dropped := event.dropped_attributes:
            parts.append(b"\x20" + varint(dropped))
        return delimited(FIELD[11], b"".join(parts))

    def _link(self, link: Link) -> bytes:
        context: SpanContext = link.context
        trace_id, span_id, is_remote, _, _, _ = context
        parts = [
            _ids(b"\x0a\x10", trace_id >> 64, trace_id & _LOW, b"\x12\x08", span_id)
        ]
        if attributes := plain(link.attributes):
            parts += self._link_attributes.encoded(attributes)
        if dropped := link.dropped_attributes:
            parts.append(b"\x28" + varint(dropped))
        parts.append(_LINK_FLAGS[is_remote])
        return delimited(FIELD[13], b"".join(parts))


def _read_light(span: Any) -> tuple[Any, ...]:
    """Return the fields of a light span without its properties, which copy or wrap the same."""
    return (
        *(span._context, span._parent, span._name, span._kind),
        *(span._start_time, span._end_time),
        *(span._attributes, span._dropped, span._status),
    )


def _read(span: Any) -> tuple[Any, ...]:
    return (
        *(span.context, span.parent, span.name, span.kind),
        *(span.start_time, span.end_time),
        *(_attributes(span), span.dropped_attributes, span.status),
    )


def _is_bare(span: ReadableSpan) -> bool:
    """Whether `span` is a light one that was never given an event or a link."""
    if type(span) is not LightSpan:
        return False
    return span._events is _NOTHING and span._links is _NOTHING


def _attributes(span: ReadableSpan) -> Mapping[str, Any] | None:
    if type(span).attributes is _SDK.attributes:
        return plain(span._attributes)
    return span.attributes


def _events(span: ReadableSpan) -> Sequence[Event]:
    if type(span).events is _SDK.events and not span._events:
        return ()
    return span.events


def _links(span: ReadableSpan) -> Sequence[Link]:
    if type(span).links is _SDK.links and not span._links:
        return ()
    return span.links


def _state(state: TraceState) -> bytes:
    return delimited(
        FIELD[3], utf8(",".join(f"{key}={value}" for key, value in state.items()))
    )


def _status(status: Status) -> bytes:
    code = status.status_code._value_
    content = optional(FIELD[2], status.description)
    if code:
        content += bytes((0x18, code))
    return delimited(FIELD[15], content) if content else _UNSET
