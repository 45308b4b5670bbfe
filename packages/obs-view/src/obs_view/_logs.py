"""The log records that have come, in memory, bounded by count and age as spans are."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from obs_view._database import Database
from obs_view._model import Log
from obs_view._otlp import to_log
from obs_view._stored_trace import Origin, Origins

_T = TypeVar("_T")


class StoredLog(NamedTuple):
    """A log record's bytes, and the fields that searches need; `time` is nanoseconds since the epoch."""

    raw: bytes
    origin: Origin
    trace_id: bytes
    time: int
    severity: int
    seen: float

    def decoded(self) -> Log:
        """Decode the record."""
        return to_log(self.raw, self.origin.service)


class LogBook:
    """Log records in the order of their arrival; all methods may be called from any thread."""

    def __init__(
        self,
        max_logs: int,
        max_age_s: float,
        database: Database | None,
        changed: threading.Condition,
    ) -> None:
        """Keep at most `max_logs`, for at most `max_age_s` seconds; `changed` is the store's lock."""
        self.max_logs: int = max_logs
        self.max_age_s: float = max_age_s
        self.sequence: int = 0
        self._logs: deque[StoredLog] = deque()
        self._by_trace: dict[bytes, list[StoredLog]] = {}
        self._origins = Origins()
        self._changed = changed
        for request in database.load_logs(max_age_s) if database else ():
            self._take(request)
        self._database = database
        self._evict()

    @property
    def count(self) -> int:
        """The number of log records."""
        return len(self._logs)

    def add(self, request: ExportLogsServiceRequest) -> None:
        """Keep the request's records."""
        with self._changed:
            saved = self._take(request)
            if self._database:
                self._database.save_logs(saved)
            self._evict()
            self._changed.notify_all()

    def _take(self, request: ExportLogsServiceRequest) -> list[StoredLog]:
        taken, now = [], time.monotonic()
        for group in request.resource_logs:
            for scope in group.scope_logs:
                origin = self._origins.of(group.resource, scope.scope)
                taken += [
                    self._stored(record, origin, now) for record in scope.log_records
                ]
        for log in taken:
            self._logs.append(log)
            if log.trace_id:
                self._by_trace.setdefault(log.trace_id, []).append(log)
        self.sequence += len(taken)
        return taken

    def _stored(self, record: LogRecord, origin: Origin, now: float) -> StoredLog:
        held = self._by_trace.get(record.trace_id)
        is_id = len(record.trace_id) == 16 and any(record.trace_id)
        trace_id = held[0].trace_id if held else record.trace_id if is_id else b""
        when = record.time_unix_nano or record.observed_time_unix_nano
        return StoredLog(
            record.SerializeToString(),
            origin,
            trace_id,
            when,
            record.severity_number,
            now,
        )

    def _evict(self) -> None:
        oldest, gone = time.monotonic() - self.max_age_s, 0
        while self._logs and (
            len(self._logs) > self.max_logs or self._logs[0].seen < oldest
        ):
            self._remove(self._logs.popleft())
            gone += 1
        if gone and self._database:
            self._database.forget_logs(gone)

    def _remove(self, log: StoredLog) -> None:
        if not log.trace_id:
            return
        held = self._by_trace[log.trace_id]
        held.pop(0)
        if not held:
            del self._by_trace[log.trace_id]

    def clear(self) -> None:
        """Forget all."""
        with self._changed:
            if self._database:
                self._database.forget_logs(len(self._logs))
            self._logs.clear()
            self._by_trace.clear()
            self.sequence += 1

    def close(self) -> None:
        """Use the database no more."""
        self._database = None

    def of(self, trace_id: bytes) -> list[Log]:
        """Return a trace's records, in the order of their time."""
        with self._changed:
            held = list(self._by_trace.get(trace_id, ()))
        return [log.decoded() for log in sorted(held, key=lambda log: log.time)]

    def count_of(self, trace_ids: Iterable[bytes]) -> int:
        """Return how many records these traces have."""
        with self._changed:
            return sum(len(self._by_trace.get(trace_id, ())) for trace_id in trace_ids)

    def read(self, function: Callable[[Iterable[StoredLog]], _T]) -> _T:
        """Call `function` under the lock with the records, latest last; return the result."""
        with self._changed:
            self._evict()
            return function(self._logs)

    def export(self, trace_id: bytes) -> ExportLogsServiceRequest:
        """Return the OTLP request that would bring a trace's records."""
        request, scopes = ExportLogsServiceRequest(), dict[Origin, Any]()
        with self._changed:
            held = list(self._by_trace.get(trace_id, ()))
        for log in held:
            if log.origin not in scopes:
                group = request.resource_logs.add(
                    resource=Resource.FromString(log.origin.resource)
                )
                scope = InstrumentationScope.FromString(log.origin.scope)
                scopes[log.origin] = group.scope_logs.add(scope=scope).log_records
            scopes[log.origin].append(LogRecord.FromString(log.raw))
        return request
