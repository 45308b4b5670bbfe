"""Encoded spans as spans again, for exporters that take no bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
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

_IS_REMOTE = 0x200
T = TypeVar("T")


def decoded(span: ReadableSpan | EncodedItem) -> ReadableSpan:
    """Return the span; OTLP does not keep its trace flags, which are those of a sampled span."""
    if isinstance(span, ReadableSpan):
        return span
    found = Span.FromString(span.message)
    resource, scope = origin_of(span.group)
    status = Status(StatusCode(found.status.code), found.status.message or None)
    return ReadableSpan(
        found.name,
        _context(found.trace_id, found.span_id, found.trace_state),
        _parent(found),
        resource,
        _attributes(found.attributes, found.dropped_attributes_count),
        _bounded(map(_event, found.events), found.dropped_events_count),
        _bounded(map(_link, found.links), found.dropped_links_count),
        SpanKind(found.kind - 1),
        status=status,
        start_time=found.start_time_unix_nano,
        end_time=found.end_time_unix_nano,
        instrumentation_scope=scope,
    )


def _bounded(items: Iterable[T], dropped: int) -> BoundedList[T]:
    """Return a list of the SDK, which says how many items were dropped."""
    found: BoundedList[T] = BoundedList.from_seq(None, list(items))
    found.dropped = dropped
    return found


def origin_of(group: Group) -> tuple[Resource, InstrumentationScope]:
    """Return the resource and the scope."""
    resource_head, resource_tail, scope_head, scope_tail = group.parts
    of_resource = ResourceSpans.FromString(resource_head + resource_tail)
    of_scope = ScopeSpans.FromString(scope_head + scope_tail)
    scope = of_scope.scope
    return (
        Resource(
            attributes_of(of_resource.resource.attributes), of_resource.schema_url
        ),
        InstrumentationScope(
            scope.name,
            scope.version,
            of_scope.schema_url,
            attributes_of(scope.attributes),
        ),
    )


def _event(event: Span.Event) -> Event:
    attributes = _attributes(event.attributes, event.dropped_attributes_count)
    return Event(event.name, attributes, event.time_unix_nano)


def _link(link: Span.Link) -> Link:
    is_remote = bool(link.flags & _IS_REMOTE)
    context = _context(
        link.trace_id, link.span_id, link.trace_state, is_remote=is_remote
    )
    return Link(context, _attributes(link.attributes, link.dropped_attributes_count))


def _parent(span: Span) -> SpanContext | None:
    if not span.parent_span_id:
        return None
    is_remote = bool(span.flags & _IS_REMOTE)
    return _context(span.trace_id, span.parent_span_id, "", is_remote=is_remote)


def _context(
    trace_id: bytes, span_id: bytes, state: str, *, is_remote: bool = False
) -> SpanContext:
    return SpanContext(
        int.from_bytes(trace_id, "big"),
        int.from_bytes(span_id, "big"),
        is_remote,
        TraceFlags(TraceFlags.SAMPLED),
        TraceState.from_header([state]),
    )


def _attributes(pairs: Iterable[KeyValue], dropped: int) -> BoundedAttributes:
    found = BoundedAttributes(attributes=attributes_of(pairs))
    found.dropped = dropped
    return found


def attributes_of(pairs: Iterable[KeyValue]) -> Mapping[str, Any]:
    """Return attributes as they were given."""
    return {pair.key: value_of(pair.value) for pair in pairs}


def value_of(value: AnyValue) -> Any:
    """Return a value as it was given."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [value_of(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return attributes_of(value.kvlist_value.values)
    return getattr(value, kind)
