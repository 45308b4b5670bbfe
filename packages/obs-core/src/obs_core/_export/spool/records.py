"""Write finished spans as lines of a spool file, and read the lines back.

A record begins with the line break: a record cut short by a full disk or a kill does not spoil the next. A file holds
three kinds: a resource with a scope, which spans name by a number local to the file; a span, as its message of OTLP in
base64 after a checksum; and the ids of spans that need no export any more. Earlier versions wrote spans as JSON: such
files are still read.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Set
from contextlib import suppress
from typing import Any
from zlib import crc32

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from obs_core._export.encode.encoder import EncodedItem, Group

_RESOURCE, _SPAN, _GROUP, _SETTLED = "r", "s", "g", "d"
_SETTLED_START, _ENCODED_START = b'["d",', b"e"
_BYTES = "\0bytes"
#: What a damaged or foreign line may raise: a value of another type than expected, or JSON that is nested too deeply.
_UNREADABLE = (TypeError, ValueError, LookupError, AttributeError, RecursionError)


def group_record(number: int, group: Group) -> bytes:
    """Return the record of a resource and scope that the file's spans name by `number`."""
    parts = [b64encode(part).decode("ascii") for part in group.parts]
    return _record(_GROUP, number, parts)


def settled_record(span_ids: Iterable[int]) -> bytes:
    """Return the record that says: these spans have been exported."""
    return _record(_SETTLED, list(span_ids))


def span_record(span: EncodedItem, group: int) -> bytes:
    """Return the record of `span`, whose resource and scope are the file's number `group`."""
    line = b"%d %d %b" % (group, span.item_id, b64encode(span.message))
    return b"\ne%08x %b" % (crc32(line), line)


def settled_ids(lines: Iterable[bytes]) -> set[int]:
    """Return the ids of the exported spans of a file; unreadable lines are left out."""
    settled: set[int] = set()
    for line in lines:
        # the records of spans, nearly all of the file, are not parsed for this
        if line.startswith(_SETTLED_START):
            with suppress(*_UNREADABLE):
                _, span_ids = _parsed(line)
                settled.update(span_ids)
    return settled


def spans_without(
    settled: Set[int], lines: Iterable[bytes]
) -> Iterator[ReadableSpan | EncodedItem]:
    """Yield the spans of a file except those with a `settled` id; unreadable lines are left out."""
    origins: dict[int, Any] = {}
    for line in lines:
        with suppress(*_UNREADABLE):
            span = _encoded(line, origins) or _read(line, origins)
            if span is not None and span_id_of(span) not in settled:
                yield span


def span_id_of(span: ReadableSpan | EncodedItem) -> int:
    """Return the id of a span, encoded or not."""
    if isinstance(span, EncodedItem):
        return span.item_id
    span_id: int = span.context.span_id
    return span_id


def _encoded(line: bytes, groups: dict[int, Any]) -> EncodedItem | None:
    if not line.startswith(_ENCODED_START):
        return None
    checksum, _, rest = line[1:].rstrip(b"\n").partition(b" ")
    if int(checksum, 16) != crc32(rest):
        raise ValueError("a damaged record")
    number, span_id, message = rest.split(b" ")
    return EncodedItem(groups[int(number)], int(span_id), b64decode(message))


def _read(line: bytes, origins: dict[int, Any]) -> ReadableSpan | None:
    """Return the span of an earlier version; take a resource or a group to `origins`."""
    kind, number, *rest = _parsed(line)
    if kind == _GROUP:
        origins[number] = Group.encoded(*map(b64decode, *rest))
    elif kind == _RESOURCE:
        origins[number] = Resource(*rest)
    elif kind == _SPAN:
        return _span(origins[number], *rest)
    return None


def _record(*fields: object) -> bytes:
    return b"\n" + json.dumps(fields, separators=(",", ":")).encode("ascii")


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line, object_hook=_object)
    except ValueError:
        return ()


def _object(found: dict[str, Any]) -> object:
    return b64decode(found[_BYTES]) if found.keys() == {_BYTES} else found


def _span(
    resource: Resource,
    name: str,
    context: list[Any],
    parent: list[Any] | None,
    kind: int,
    start: int | None,
    end: int | None,
    status: tuple[int, str | None],
    attributes: dict[str, Any],
    events: list[Any],
    links: list[Any],
    scope: list[Any] | None,
) -> ReadableSpan:
    return ReadableSpan(
        name=name,
        context=_span_context(*context),
        parent=_span_context(*parent) if parent else None,
        resource=resource,
        attributes=attributes,
        events=[
            Event(name, attributes, timestamp) for name, timestamp, attributes in events
        ],
        links=[
            Link(_span_context(*context), attributes) for context, attributes in links
        ],
        kind=SpanKind(kind),
        status=Status(StatusCode(status[0]), status[1]),
        start_time=start,
        end_time=end,
        instrumentation_scope=InstrumentationScope(*scope) if scope else None,
    )


def _span_context(
    trace_id: int, span_id: int, is_remote: bool, flags: int, state: str
) -> SpanContext:
    return SpanContext(
        trace_id,
        span_id,
        is_remote,
        TraceFlags(flags),
        TraceState.from_header([state]) if state else None,
    )
