"""A trace in the store: the received bytes, and the fields that lists and statistics need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakValueDictionary

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from obs_view._model import Log
from obs_view._otlp import attributes_of, service_name, to_span
from obs_view._peers import NO_PEER, Peer
from obs_view._trace import Trace

_ERROR = 2


class Origin:
    """A resource and an instrumentation scope, kept once for all their spans."""

    __slots__ = ("__weakref__", "resource", "scope", "service")

    def __init__(self, resource: Resource, scope: InstrumentationScope) -> None:
        self.resource: bytes = resource.SerializeToString()
        self.scope: bytes = scope.SerializeToString()
        self.service = service_name(resource)

    def decoded(self) -> tuple[Mapping[str, object], str]:
        """Return the resource's attributes and the scope's name."""
        scope = InstrumentationScope.FromString(self.scope)
        return attributes_of(Resource.FromString(self.resource)), str(scope.name)


class Origins:
    """The origins of what is held: equal ones are one object, and forgotten with what came from there."""

    def __init__(self) -> None:
        self._held: WeakValueDictionary[tuple[bytes, bytes], Origin] = (
            WeakValueDictionary()
        )

    def __len__(self) -> int:
        return len(self._held)

    def of(self, resource: Resource, scope: InstrumentationScope) -> Origin:
        """Return the origin of `resource` and `scope`."""
        origin = Origin(resource, scope)
        return self._held.setdefault((origin.resource, origin.scope), origin)


class Operation:
    """The operation of a span: service, name, kind, and the called system; kept once for all equal spans."""

    __slots__ = ("__weakref__", "kind", "name", "peer", "service")

    def __init__(
        self, service: str, name: str, kind: int, peer: Peer = NO_PEER
    ) -> None:
        self.service = service
        self.name = name
        self.kind = kind
        self.peer = peer


class StoredSpan(NamedTuple):
    """A span's bytes, and the fields that lists and statistics need; times are nanoseconds."""

    raw: bytes
    origin: Origin
    operation: Operation
    start: int
    duration: int
    failed: bool
    parent: bytes

    @classmethod
    def of(cls, span: ProtoSpan, origin: Origin, operation: Operation) -> StoredSpan:
        """Keep `span`."""
        start = span.start_time_unix_nano
        has_parent = any(span.parent_span_id)
        return cls(
            raw=span.SerializeToString(),
            origin=origin,
            operation=operation,
            start=start,
            duration=max(0, span.end_time_unix_nano - start),
            failed=span.status.code == _ERROR,
            parent=span.parent_span_id if has_parent else b"",
        )


@dataclass(slots=True)
class Summary:
    """A trace's row of the list; times are nanoseconds since the epoch."""

    start: int = 0
    end: int = 0
    errors: int = 0
    root: str = ""
    root_service: str = ""
    complete: bool = False
    services: dict[str, int] = field(default_factory=dict)

    @property
    def duration(self) -> int:
        """Nanoseconds."""
        return max(0, self.end - self.start)

    def add(self, span: StoredSpan) -> None:
        """Count a span in."""
        service = span.operation.service
        self.start = min(self.start or span.start, span.start or self.start)
        self.end = max(self.end, span.start + span.duration)
        self.errors += span.failed
        self.services[service] = self.services.get(service, 0) + 1
        is_root = not span.parent
        if (is_root and not self.complete) or not self.root:
            self.root = span.operation.name
            self.root_service = service
            self.complete = is_root


class StoredTrace:
    """A trace in the store; to be used under the store's lock.

    A span's key is its id. Where a client's and a server's span share one, as Zipkin's do, the second has a longer key.
    """

    __slots__ = ("_stale", "_summary", "seen", "sequence", "spans", "trace_id")

    def __init__(self, trace_id: bytes) -> None:
        self.trace_id = trace_id
        self.spans: dict[bytes, StoredSpan] = {}
        self.sequence = 0
        self.seen = 0.0
        self._summary, self._stale = Summary(), False

    def add(self, span_id: bytes, span: StoredSpan) -> bytes:
        """Add a span, and return the key; a span that is sent again replaces the first."""
        key = self._key(span_id, span.origin.resource)
        if key in self.spans:
            self._stale = True
        else:
            self._summary.add(span)
        self.spans[key] = span
        return key

    def _key(self, span_id: bytes, resource: bytes) -> bytes:
        key = span_id
        while key in self.spans and self.spans[key].origin.resource != resource:
            key += b"+"
        return key

    def shorten(self, excess: int) -> list[bytes]:
        """Drop the `excess` spans that came first; return their keys."""
        gone = list(self.spans)[:excess]
        for key in gone:
            del self.spans[key]
        self._stale = True
        return gone

    @property
    def summary(self) -> Summary:
        """The row of the list."""
        if self._stale:
            self._summary, self._stale = Summary(), False
            for span in self.spans.values():
                self._summary.add(span)
        return self._summary

    def trace(self, logs: Iterable[Log] = ()) -> Trace:
        """Decode all spans; `logs` are the trace's log records."""
        origins = {origin: origin.decoded() for origin in self._origins()}
        spans = (
            to_span(span.raw, *origins[span.origin]) for span in self.spans.values()
        )
        return Trace(spans, logs)

    def _origins(self) -> Iterable[Origin]:
        return {span.origin for span in self.spans.values()}

    def export(self) -> ExportTraceServiceRequest:
        """Return the OTLP request that would bring this trace."""
        request, by_origin = ExportTraceServiceRequest(), dict[Origin, list[bytes]]()
        for span in self.spans.values():
            by_origin.setdefault(span.origin, []).append(span.raw)
        for origin, spans in by_origin.items():
            group = request.resource_spans.add(
                resource=Resource.FromString(origin.resource)
            )
            scope = group.scope_spans.add(
                scope=InstrumentationScope.FromString(origin.scope)
            )
            scope.spans.extend(ProtoSpan.FromString(raw) for raw in spans)
        return request
