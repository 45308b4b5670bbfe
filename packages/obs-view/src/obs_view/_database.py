"""Traces that outlive the process, in an SQLite file beside the memory."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

_log = logging.getLogger(__name__)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS obs_view_spans (
    trace_id BLOB, span_id BLOB, seen REAL, resource BLOB, scope BLOB, span BLOB, PRIMARY KEY (trace_id, span_id)
)"""
_LOGS_SCHEMA = """
CREATE TABLE IF NOT EXISTS obs_view_logs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, seen REAL, resource BLOB, scope BLOB, record BLOB
)"""
_FORGET_LOGS = """
DELETE FROM obs_view_logs WHERE number IN (SELECT number FROM obs_view_logs ORDER BY number LIMIT ?)"""
_SAVE = "INSERT OR REPLACE INTO obs_view_spans VALUES (?, ?, ?, ?, ?, ?)"

Saved = tuple[bytes, bytes, bytes, bytes, bytes]


class DatabaseError(OSError):
    """The file cannot be used; the message says why, and the fix."""


class Database:
    """The spans of a store in a file, used by a single process at a time; to be used under the store's lock."""

    def __init__(self, path: str) -> None:
        """Open or make the SQLite file at `path`.

        Raises:
            DatabaseError: The file is in use by another process, is no SQLite file, or cannot be written.
        """
        self._failed = False
        try:
            self._connection = _open(path)
        except sqlite3.Error as error:
            fix = "stop the obs-view that uses it, or name another file with --db"
            raise DatabaseError(
                f"cannot use {path} as database ({error}): {fix}"
            ) from error

    def load(self, max_age_s: float) -> Iterator[ExportTraceServiceRequest]:
        """Drop spans received more than `max_age_s` seconds ago, and yield the rest."""
        for resource, scope, spans in self._load(
            "obs_view_spans", "span, rowid", max_age_s
        ):
            request = ExportTraceServiceRequest()
            group = request.resource_spans.add(resource=resource)
            held = group.scope_spans.add(scope=scope).spans
            held.extend(map(ProtoSpan.FromString, spans))
            yield request

    def load_logs(self, max_age_s: float) -> Iterator[ExportLogsServiceRequest]:
        """Drop log records received more than `max_age_s` seconds ago, and yield the rest."""
        for resource, scope, records in self._load(
            "obs_view_logs", "record, number", max_age_s
        ):
            request = ExportLogsServiceRequest()
            group = request.resource_logs.add(resource=resource)
            held = group.scope_logs.add(scope=scope).log_records
            held.extend(map(LogRecord.FromString, records))
            yield request

    def _load(
        self, table: str, columns: str, max_age_s: float
    ) -> Iterator[tuple[Resource, InstrumentationScope, list[bytes]]]:
        with self._connection:
            self._connection.execute(
                f"DELETE FROM {table} WHERE seen < ?",  # noqa: S608 - a table of ours
                (time.time() - max_age_s,),
            )
        rows = self._connection.execute(
            f"SELECT resource, scope, {columns} FROM {table} ORDER BY 4"  # noqa: S608
        )
        for (resource, scope), group in groupby(rows, key=lambda row: (row[0], row[1])):
            yield (
                Resource.FromString(resource),
                InstrumentationScope.FromString(scope),
                [row[2] for row in group],
            )

    def save_logs(self, logs: Iterable[Any]) -> None:
        """Keep log records."""
        now = time.time()
        rows: list[tuple[object, ...]] = [
            (now, log.origin.resource, log.origin.scope, log.raw) for log in logs
        ]
        self._run(
            "INSERT INTO obs_view_logs (seen, resource, scope, record) VALUES (?, ?, ?, ?)",
            rows,
        )

    def forget_logs(self, count: int) -> None:
        """Remove the `count` log records that came first."""
        self._run(_FORGET_LOGS, [(count,)])

    def save(self, spans: Iterable[Saved]) -> None:
        """Keep (trace id, span id, resource, scope, span); a span with the same ids is replaced."""
        now = time.time()
        rows: list[tuple[object, ...]] = [
            (trace_id, span_id, now, resource, scope, span)
            for trace_id, span_id, resource, scope, span in spans
        ]
        self._run(_SAVE, rows)

    def forget(self, spans: Iterable[tuple[bytes, bytes]]) -> None:
        """Remove spans by trace id and span id."""
        self._run(
            "DELETE FROM obs_view_spans WHERE trace_id = ? AND span_id = ?", list(spans)
        )

    def _run(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        try:
            with self._connection:
                self._connection.executemany(statement, rows)
        except sqlite3.Error:
            if not self._failed:
                _log.exception(
                    "obs-view cannot write its database; traces are kept in memory alone from now on"
                )
            self._failed = True

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _open(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0.5, check_same_thread=False)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        # a power cut may cost the last traces, never the file
        connection.execute("PRAGMA synchronous = NORMAL")
        with connection:
            connection.execute(_SCHEMA)
            connection.execute(_LOGS_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
