"""The encoder of export requests: spans grouped by resource and scope, as the SDK's encoder groups them.

The messages of log records are grouped in the same way, in fields of the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from obs_core._export.encode.sdk import resource_and_scope
from obs_core._export.encode.spans import SpanEncoder
from obs_core._export.encode.wire import FIELD, delimited, varint
from obs_core._spans.light import LightSpan

_MAX_GROUPS = 1024
#: Of a resource and a scope.
Ids: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A resource and a scope, encoded.

    Attributes:
        resource: Compares resources: equal resources share a ResourceSpans message.
        scope: Compares scopes.
        parts: What a ResourceSpans message has before and after its spans, and a ScopeSpans message likewise.
    """

    resource: Hashable
    scope: Hashable
    parts: tuple[bytes, bytes, bytes, bytes]

    @classmethod
    def encoded(cls, *parts: bytes) -> Group:
        """Return the group with these parts, of whatever process."""
        resource_head, resource_tail, scope_head, scope_tail = parts
        whole = resource_head, resource_tail, scope_head, scope_tail
        return cls(whole[:2], whole[2:], whole)


@dataclass(frozen=True, slots=True)
class EncodedItem:
    """A finished span or a log record as bytes of OTLP's message, with its resource and scope.

    Attributes:
        group: The resource and scope.
        item_id: The span's id; for a log record, a number that is unique in the process.
        message: The Span or LogRecord message.
    """

    group: Group
    item_id: int
    message: bytes


class Encoder:
    """Encodes spans, and requests of them; thread-safe, without a lock.

    Args:
        encode: Returns the Span message of a span; by default directly.
    """

    def __init__(self, encode: Callable[[ReadableSpan], bytes] | None = None) -> None:
        self._encode = encode or SpanEncoder().encode
        self._groups: dict[Ids, tuple[_Origin, Group]] = {}

    def request(self, batch: Iterable[ReadableSpan | EncodedItem]) -> bytes:
        """Return the request of `batch`: ExportTraceServiceRequest or, of log records, ExportLogsServiceRequest.

        Raises:
            Exception: A span cannot be encoded, by the SDK either.
        """
        request = _Request()
        # a batch keeps its resources and scopes alive, so that their ids are theirs
        places: dict[Ids, list[bytes]] = {}
        encode = self._encode
        for span in batch:
            if isinstance(span, EncodedItem):
                parts, message = request.place(span.group), span.message
            else:
                key = _ids(span)
                found = places.get(key)
                parts = found or places.setdefault(
                    key, request.place(self._group(span))
                )
                message = encode(span)
            parts += (FIELD[2], varint(len(message)), message)
        return b"".join(request.resource_spans())

    def span(self, span: ReadableSpan | EncodedItem) -> EncodedItem:
        """Return `span`, encoded.

        Raises:
            Exception: The span cannot be encoded, by the SDK either.
        """
        if isinstance(span, EncodedItem):
            return span
        return EncodedItem(self._group(span), span.context.span_id, self._encode(span))

    def _group(self, span: ReadableSpan) -> Group:
        return self.group(span.resource, span.instrumentation_scope or None)

    def group(self, resource: Resource, scope: InstrumentationScope | None) -> Group:
        """Return `resource` and `scope`, encoded; kept for the next call."""
        key = id(resource), id(scope)
        origin, group = self._groups.get(key, (None, None))
        if group is None or origin is None or not origin.is_of(resource, scope):
            if len(self._groups) >= _MAX_GROUPS:
                self._groups.clear()
            group = Group(resource, scope, resource_and_scope(resource, scope))
            self._groups[key] = _Origin(resource, scope, resource.attributes), group
        return group


def _ids(span: ReadableSpan) -> Ids:
    if type(span) is LightSpan:
        origin = span._origin
        return id(origin.resource), id(origin.scope)
    return id(span.resource), id(span.instrumentation_scope)


@dataclass(frozen=True, slots=True)
class _Origin:
    """The objects that a group was made of, kept alive: no other objects have their ids meanwhile."""

    resource: Resource
    scope: InstrumentationScope | None
    attributes: Mapping[str, Any]

    def is_of(self, resource: Resource, scope: InstrumentationScope | None) -> bool:
        # the attributes of a resource that follows forks and set-ups are other ones then
        is_same = self.resource is resource and self.scope is scope
        return is_same and self.attributes is resource.attributes


class _Request:
    """The spans of a request: equal resources are one, and equal scopes in it, in the order of the spans."""

    def __init__(self) -> None:
        self._resources: dict[Hashable, dict[Hashable, tuple[Group, list[bytes]]]] = {}

    def place(self, group: Group) -> list[bytes]:
        """Return the fields of the spans of `group`, to be added to."""
        scopes = self._resources.setdefault(group.resource, {})
        _, spans = scopes.setdefault(group.scope, (group, []))
        return spans

    def resource_spans(self) -> Iterator[bytes]:
        """Yield the ResourceSpans fields."""
        for scopes in self._resources.values():
            scope_spans = [
                _scope_spans(group, spans) for group, spans in scopes.values()
            ]
            first, _ = next(iter(scopes.values()))
            head, tail, _, _ = first.parts
            yield delimited(FIELD[1], b"".join((head, *scope_spans, tail)))


def _scope_spans(group: Group, spans: Sequence[bytes]) -> bytes:
    _, _, head, tail = group.parts
    return delimited(FIELD[2], b"".join((head, *spans, tail)))
