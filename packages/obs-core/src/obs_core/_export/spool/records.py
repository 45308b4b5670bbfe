"""Write finished spans as lines of a spool file, and read the lines back: a JSON array each.

A record begins with the line break: a record cut short by a full disk or a kill does not spoil the next. A file holds
three kinds: a resource, which spans name by a number local to the file; a span; and the ids of spans that need no export
any more. The counts of attributes, events and links that the SDK's limits dropped are not kept.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import suppress
from typing import Any

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

_RESOURCE, _SPAN, _SETTLED = "r", "s", "d"
_SETTLED_START = b'["d",'
_BYTES = "\0bytes"


def resource_record(number: int, resource: Resource) -> bytes:
    """Return the record of a resource that the file's spans name by `number`."""
    return _record(_RESOURCE, number, dict(resource.attributes), resource.schema_url)


def settled_record(span_ids: Iterable[int]) -> bytes:
    """Return the record that says: these spans have been exported."""
    return _record(_SETTLED, list(span_ids))


def span_record(span: ReadableSpan, resource: int) -> bytes:
    """Return the record of `span`, whose resource is the file's number `resource`."""
    scope, status, parent = span.instrumentation_scope, span.status, span.parent
    return _record(
        _SPAN,
        resource,
        span.name,
        _context(span.context),
        parent and _context(parent),
        span.kind.value,
        span.start_time,
        span.end_time,
        (status.status_code.value, status.description),
        _plain(span.attributes),
        [(event.name, event.timestamp, _plain(event.attributes)) for event in span.events],
        [(_context(link.context), _plain(link.attributes)) for link in span.links],
        scope and (scope.name, scope.version, scope.schema_url, _plain(scope.attributes)),
    )


def settled_ids(lines: Iterable[bytes]) -> set[int]:
    """Return the ids of the exported spans of a file; unreadable lines are left out."""
    settled: set[int] = set()
    for line in lines:
        # the records of spans, nearly all of the file, are not parsed for this
        if line.startswith(_SETTLED_START):
            with suppress(TypeError, ValueError):
                _, span_ids = _parsed(line)
                settled.update(span_ids)
    return settled


def spans_without(settled: Set[int], lines: Iterable[bytes]) -> Iterator[ReadableSpan]:
    """Yield the spans of a file except those with a `settled` id; unreadable lines are left out."""
    resources: dict[int, Resource] = {}
    for record in map(_parsed, lines):
        with suppress(TypeError, ValueError, LookupError):
            kind, number, *rest = record
            if kind == _RESOURCE:
                resources[number] = Resource(*rest)
            elif kind == _SPAN:
                span = _span(resources[number], *rest)
                if span.context.span_id not in settled:
                    yield span


def _record(*fields: object) -> bytes:
    return b"\n" + _encode(fields).encode("ascii")


def _unheard_of(value: object) -> object:
    return {_BYTES: b64encode(value).decode("ascii")} if isinstance(value, bytes) else str(value)


_encode: Callable[[object], str] = json.JSONEncoder(
    separators=(",", ":"), default=_unheard_of
).encode


def _context(context: SpanContext) -> tuple[int, int, bool, int, str]:
    state = context.trace_state
    return (
        context.trace_id,
        context.span_id,
        context.is_remote,
        context.trace_flags,
        state.to_header() if state else "",
    )


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(attributes) if attributes else {}


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
        events=[Event(name, attributes, timestamp) for name, timestamp, attributes in events],
        links=[Link(_span_context(*context), attributes) for context, attributes in links],
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
