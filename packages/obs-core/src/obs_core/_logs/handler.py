"""The handler of `logging` that exports."""

from __future__ import annotations

import logging
from itertools import count
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from obs_core._export.encode.encoder import EncodedItem, Encoder
from obs_core._export.encode.logs import LogEncoder
from obs_core._export.encode.recent import Recent
from obs_core._export.outage import is_exporting
from obs_core._export.signal_export import SignalExport
from obs_core._logs.record import entry_of
from obs_core._safety.containment import call_contained
from obs_core._safety.fork_watch import fork_watch

#: What these loggers say is about the export, or said while exporting on a thread of gRPC: exported, it would cause more.
_OF_THE_EXPORT = ("obs_core", "opentelemetry", "grpc._channel", "grpc._common")


class ExportHandler(logging.Handler):
    """Encodes each record where it is logged, and queues it for export. Never waits, takes no lock, never raises.

    Records of the export itself are left out: of our own and OpenTelemetry's loggers, and all that is logged on the thread
    that exports (urllib3, gRPC). Level and filters are those of any handler.

    Args:
        export: Takes the encoded records.
        resource: Of the process.
    """

    def __init__(self, export: SignalExport, resource: Resource) -> None:
        super().__init__()
        self._export = export
        self._resource = resource
        self._encoder, self._groups = LogEncoder(), Encoder()
        self._scopes: Recent[str, InstrumentationScope] = Recent(max_entries=512)
        self._next_id = count(1).__next__

    def createLock(self) -> None:  # noqa: N802 - the base class's name
        """Take no lock: a signal handler or a forked child may find it taken."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Export `record` unless a filter is against it."""
        return call_contained("exporting a log record", self._handle, record) or False

    def _handle(self, record: logging.LogRecord) -> bool:
        if is_exporting() or _is_of_the_export(record.name):
            return False
        passed: Any = self.filter(record)  # since 3.12 a record, too
        if isinstance(passed, logging.LogRecord):
            record = passed
        if passed:
            self.emit(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Encode and queue `record`."""
        fork_watch.notice()
        group = self._groups.group(self._resource, self._scope(record.name))
        message = self._encoder.encode(entry_of(record))
        self._export.put(EncodedItem(group, self._next_id(), message))

    def _scope(self, name: str) -> InstrumentationScope:
        found = self._scopes.recall(name)
        if found is None:
            found = InstrumentationScope(name)
            self._scopes.keep(name, found)
        return found


def _is_of_the_export(name: str) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in _OF_THE_EXPORT)
