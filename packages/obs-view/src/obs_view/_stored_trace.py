"""One trace as the store keeps it: the bytes that came, and what the list shows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from obs_view._model import Trace
from obs_view._otlp import attributes_of, service_name, to_span


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


@dataclass(slots=True)
class Summary:
    """What the list of traces shows of one trace; times are nanoseconds since the epoch."""

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

    def add(self, span: ProtoSpan, service: str) -> None:
        """Count a span in."""
        self.start = min(
            self.start or span.start_time_unix_nano, span.start_time_unix_nano or self.start
        )
        self.end = max(self.end, span.end_time_unix_nano, span.start_time_unix_nano)
        self.errors += span.status.code == 2
        self.services[service] = self.services.get(service, 0) + 1
        is_root = not any(span.parent_span_id)
        if (is_root and not self.complete) or not self.root:
            self.root, self.root_service, self.complete = span.name, service, is_root


class StoredTrace:
    """One trace in the store; to be used under the store's lock."""

    __slots__ = ("_stale", "_summary", "links", "seen", "sequence", "spans", "trace_id")

    def __init__(self, trace_id: bytes) -> None:
        self.trace_id = trace_id
        self.spans: dict[bytes, tuple[bytes, Origin]] = {}
        self.links: set[bytes] = set()
        self.sequence = 0
        self.seen = 0.0
        self._summary, self._stale = Summary(), False

    def add(self, span: ProtoSpan, origin: Origin) -> None:
        """Add a span; one that was sent again takes the place of the first."""
        if span.span_id in self.spans:
            self._stale = True
        else:
            self._summary.add(span, origin.service)
        self.spans[span.span_id] = (span.SerializeToString(), origin)

    def shorten(self, excess: int) -> list[bytes]:
        """Drop the `excess` spans that came first; return their ids."""
        gone = list(self.spans)[:excess]
        for span_id in gone:
            del self.spans[span_id]
        self._stale = True
        return gone

    @property
    def summary(self) -> Summary:
        """What the list shows."""
        if self._stale:
            self._summary, self._stale = Summary(), False
            for raw, origin in self.spans.values():
                self._summary.add(ProtoSpan.FromString(raw), origin.service)
        return self._summary

    def trace(self) -> Trace:
        """Decode all spans."""
        origins = {
            origin: origin.decoded() for origin in {origin for _, origin in self.spans.values()}
        }
        return Trace(to_span(raw, *origins[origin]) for raw, origin in self.spans.values())

    def export(self) -> ExportTraceServiceRequest:
        """Return the OTLP request that would bring this trace."""
        request, by_origin = ExportTraceServiceRequest(), dict[Origin, list[bytes]]()
        for raw, origin in self.spans.values():
            by_origin.setdefault(origin, []).append(raw)
        for origin, spans in by_origin.items():
            group = request.resource_spans.add(resource=Resource.FromString(origin.resource))
            scope = group.scope_spans.add(scope=InstrumentationScope.FromString(origin.scope))
            scope.spans.extend(ProtoSpan.FromString(raw) for raw in spans)
        return request
