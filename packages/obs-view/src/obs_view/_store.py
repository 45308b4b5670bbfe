"""The traces that have come, in memory, bounded by count and age."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from obs_view._database import Database, Saved
from obs_view._logs import LogBook
from obs_view._metrics import MAX_STREAMS, MetricBook
from obs_view._otlp import to_json, valid_ids
from obs_view._peers import Peer, peer_of
from obs_view._stored_trace import Operation, Origin, Origins, StoredSpan, StoredTrace
from obs_view._trace import Trace
from obs_view._trace_links import TraceLinks

MAX_SPANS, MAX_AGE_S = 100_000, 24 * 3600.0

_T = TypeVar("_T")


class Store:
    """Traces by id, the most recently changed last; all methods may be called from any thread."""

    def __init__(
        self,
        max_spans: int = MAX_SPANS,
        max_age_s: float = MAX_AGE_S,
        database: Database | None = None,
    ) -> None:
        """Keep at most `max_spans` (default 100,000), none whose trace had nothing new for `max_age_s` seconds (a day).

        `database` holds the same spans in a file; what it has already is loaded.
        """
        self.max_spans: int = max_spans
        self.max_age_s: float = max_age_s
        self.evicted: int = 0
        self.count: int = 0
        self.sequence: int = 0
        self._entries: OrderedDict[bytes, StoredTrace] = OrderedDict()
        self._links = TraceLinks()
        self._origins = Origins()
        self._operations: WeakValueDictionary[tuple[str, str, int, Peer], Operation] = (
            WeakValueDictionary()
        )
        self._unsaved: list[Saved] = []
        self._changed = threading.Condition()
        self._database: Database | None = None
        for request in database.load(max_age_s) if database else ():
            self._take(request)
        self._database = database
        self._evict()
        self.logs: LogBook = LogBook(max_spans, max_age_s, database, self._changed)
        self.metrics: MetricBook = MetricBook(MAX_STREAMS, max_age_s, self._changed)

    def add(self, request: ExportTraceServiceRequest) -> int:
        """Keep the request's spans; return how many were rejected for an invalid trace or span id."""
        with self._changed:
            rejected = self._take(request)
            self._save()
            self._evict()
            self._changed.notify_all()
        return rejected

    def _take(self, request: ExportTraceServiceRequest) -> int:
        rejected = 0
        for group in request.resource_spans:
            for scope in group.scope_spans:
                origin = self._origins.of(group.resource, scope.scope)
                for span in scope.spans:
                    rejected += not self._add(span, origin)
        return rejected

    def _save(self) -> None:
        if self._database:
            self._database.save(self._unsaved)
            self._unsaved = []

    def _operation(self, service: str, span: ProtoSpan) -> Operation:
        peer = peer_of(span)
        key = (service, span.name, span.kind, peer)
        operation = self._operations.get(key)
        return operation or self._operations.setdefault(key, Operation(*key))

    def _add(self, span: ProtoSpan, origin: Origin) -> bool:
        if not valid_ids(span):
            return False
        entry = self._entries.get(span.trace_id)
        if entry is None:
            entry = self._entries[span.trace_id] = StoredTrace(span.trace_id)
        stored = StoredSpan.of(span, origin, self._operation(origin.service, span))
        before = len(entry.spans)
        key = entry.add(span.span_id, stored)
        self.count += len(entry.spans) - before
        if self._database:
            self._unsaved.append(
                (span.trace_id, key, origin.resource, origin.scope, stored.raw)
            )
        self._touch(entry)
        self._links.add(span)
        return True

    def _touch(self, entry: StoredTrace) -> None:
        self.sequence += 1
        entry.sequence, entry.seen = self.sequence, time.monotonic()
        self._entries.move_to_end(entry.trace_id)

    def _evict(self) -> None:
        oldest = time.monotonic() - self.max_age_s
        while self._entries:
            entry = next(iter(self._entries.values()))
            if self.count <= self.max_spans and entry.seen >= oldest:
                return
            if len(self._entries) == 1 and entry.seen >= oldest:
                gone = entry.shorten(self.count - self.max_spans)
            else:
                gone = list(entry.spans)
                self._remove(entry)
            self._forget(entry, gone)
            self.evicted += len(gone)

    def _forget(self, entry: StoredTrace, gone: list[bytes]) -> None:
        self.count -= len(gone)
        if self._database:
            self._database.forget((entry.trace_id, span_id) for span_id in gone)

    def _remove(self, entry: StoredTrace) -> None:
        del self._entries[entry.trace_id]
        self._links.remove(entry.trace_id)

    def clear(self) -> None:
        """Forget all traces."""
        with self._changed:
            for entry in list(self._entries.values()):
                self._remove(entry)
                self._forget(entry, list(entry.spans))
            self.logs.clear()
            self.metrics.clear()
            self.sequence += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Close the database; later spans are kept in memory alone."""
        with self._changed:
            database, self._database = self._database, None
            self.logs.close()
        if database:
            database.close()

    def changed(self, after: int = -1) -> list[tuple[str, int, float]]:
        """Return id, sequence number and ``time.monotonic()`` of each trace that changed after `after`, the latest first."""
        with self._changed:
            self._evict()
            return [
                (entry.trace_id.hex(), entry.sequence, entry.seen)
                for entry in self._newer(after)
            ]

    def _newer(self, after: int) -> Iterator[StoredTrace]:
        for entry in reversed(self._entries.values()):
            if entry.sequence <= after:
                return
            yield entry

    def read(self, function: Callable[[Collection[StoredTrace]], _T]) -> _T:
        """Call `function` under the lock with the traces, latest changed last; return the result."""
        with self._changed:
            self._evict()
            return function(self._entries.values())

    def get(self, trace_id: str) -> Trace | None:
        """Return the trace of that hex id, or None."""
        with self._changed:
            entry = self._entries.get(_key(trace_id))
            return entry.trace(self.logs.of(entry.trace_id)) if entry else None

    def linked(self, trace_id: str) -> list[str]:
        """Return the ids of the traces connected with `trace_id` by links, in both directions, `trace_id` first; 50 at most."""
        with self._changed:
            found = self._links.connected(_key(trace_id), self._entries)
        return [key.hex() for key in found]

    def newest(self, trace_ids: Iterable[str]) -> int:
        """Return a number that grows with each new span or log record of these traces."""
        keys = [_key(trace_id) for trace_id in trace_ids]
        with self._changed:
            entries = (self._entries.get(key) for key in keys)
            newest = max((entry.sequence for entry in entries if entry), default=-1)
            return newest + self.logs.count_of(keys)

    def export(self, trace_id: str) -> dict[str, Any]:
        """Return the trace of that hex id, with log records, as OTLP-JSON; empty if unknown."""
        with self._changed:
            entry = self._entries.get(_key(trace_id))
            if entry is None:
                return {}
            return to_json(entry.export()) | to_json(self.logs.export(entry.trace_id))

    def read_some(
        self,
        trace_ids: Iterable[str],
        function: Callable[[Collection[StoredTrace]], _T],
    ) -> _T:
        """Call `function` under the lock with these traces; return the result."""
        keys = [_key(trace_id) for trace_id in trace_ids]
        with self._changed:
            return function(
                [self._entries[key] for key in keys if key in self._entries]
            )

    def traces(self) -> list[Trace]:
        """Return all traces, decoded, in the order of their start."""
        decoded = self.read(self._decoded)
        return sorted(decoded, key=lambda trace: trace.start_time)

    def _decoded(self, entries: Iterable[StoredTrace]) -> list[Trace]:
        return [entry.trace(self.logs.of(entry.trace_id)) for entry in entries]

    def wait(self, satisfied: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `satisfied` returns true, asked after every change; return whether within `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(satisfied, timeout_s)


def _key(trace_id: str) -> bytes:
    try:
        return bytes.fromhex(trace_id)
    except ValueError:
        return b""
