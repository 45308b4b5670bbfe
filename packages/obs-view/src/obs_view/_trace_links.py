"""The links between traces, in both directions, to show linked traces as one story."""

from __future__ import annotations

from collections.abc import Container

from opentelemetry.proto.trace.v1.trace_pb2 import Span

_MAX_LINKED = 50


class TraceLinks:
    """The links of all traces in the store; to be used under the store's lock."""

    def __init__(self) -> None:
        self._targets: dict[bytes, set[bytes]] = {}
        self._sources: dict[bytes, set[bytes]] = {}

    def add(self, span: Span) -> None:
        """Add the links of `span` to other traces."""
        source = span.trace_id
        for link in span.links:
            target = link.trace_id
            if target != source:
                self._targets.setdefault(source, set()).add(target)
                self._sources.setdefault(target, set()).add(source)

    def remove(self, trace_id: bytes) -> None:
        """Forget the links of a trace to others; links to this trace stay."""
        for target in self._targets.pop(trace_id, ()):
            sources = self._sources[target]
            sources.discard(trace_id)
            if not sources:
                del self._sources[target]

    def connected(self, trace_id: bytes, known: Container[bytes]) -> list[bytes]:
        """Return the `known` traces connected with `trace_id`, the nearest first; 50 at most."""
        found: list[bytes] = []
        queue = [trace_id]
        while queue and len(found) < _MAX_LINKED:
            current = queue.pop(0)
            if current in known and current not in found:
                found.append(current)
                queue += sorted(self._neighbours(current))
        return found

    def _neighbours(self, trace_id: bytes) -> set[bytes]:
        targets = self._targets.get(trace_id, set())
        return targets | self._sources.get(trace_id, set())
