"""The map: services and the called databases, brokers and outside systems, with counts and errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from obs_view._stored_trace import StoredSpan, StoredTrace

_CLIENT, _PRODUCER, _CONSUMER = 3, 4, 5
_SERVICE = "service"
Node = tuple[str, str]


@dataclass(slots=True)
class _Count:
    count: int = 0
    errors: int = 0
    nanoseconds: int = 0

    def add(self, span: StoredSpan) -> None:
        self.count += 1
        self.errors += span.failed
        self.nanoseconds += span.duration

    def data(self) -> dict[str, Any]:
        mean = self.nanoseconds // self.count if self.count else 0
        return {"count": self.count, "errors": self.errors, "mean": mean}


def topology(entries: Iterable[StoredTrace]) -> dict[str, Any]:
    """Return nodes (kind, name, spans, errors) and edges (from, to: numbers of nodes; calls, errors, mean duration in ns).

    A call that reached a service which sends spans is an edge to that service, any other one to the system that its
    attributes name. A message goes through its broker: publisher, broker, consumer.
    """
    nodes: dict[Node, _Count] = {}
    edges: dict[tuple[Node, Node], _Count] = {}
    for entry in entries:
        for span in entry.spans.values():
            nodes.setdefault((_SERVICE, span.operation.service), _Count()).add(span)
        for source, target, span in _calls(entry):
            edges.setdefault((source, target), _Count()).add(span)
            for node in (source, target):
                if node[0] != _SERVICE:
                    nodes.setdefault(node, _Count()).add(span)
    numbers = {node: number for number, node in enumerate(nodes)}
    return {
        "nodes": [
            {"kind": kind, "name": name, **count.data()}
            for (kind, name), count in nodes.items()
        ],
        "edges": [
            {"from": numbers[source], "to": numbers[target], **count.data()}
            for (source, target), count in edges.items()
        ],
    }


def _calls(entry: StoredTrace) -> Iterator[tuple[Node, Node, StoredSpan]]:
    reached = set()
    for span in entry.spans.values():
        parent = entry.spans.get(span.parent)
        source = _source(span, parent)
        if source is not None:
            yield source, _service(span), span
        if parent is not None and parent.operation.service != span.operation.service:
            reached.add(span.parent)
    for key, span in entry.spans.items():
        kind, peer = span.operation.kind, span.operation.peer
        leaves = kind == _PRODUCER or (kind == _CLIENT and key not in reached)
        if peer.kind and leaves:
            yield _service(span), (peer.kind, peer.name), span


def _source(span: StoredSpan, parent: StoredSpan | None) -> Node | None:
    """Return where a call or a message comes from that begins a service's part with `span`."""
    if span.operation.kind == _CONSUMER and span.operation.peer.kind:
        return span.operation.peer
    if parent is None or parent.operation.service == span.operation.service:
        return None
    if parent.operation.peer.kind == "broker":
        return parent.operation.peer
    return _service(parent)


def _service(span: StoredSpan) -> Node:
    return _SERVICE, span.operation.service
