"""One file of the spool; it belongs to the living process that has it locked (`fcntl.flock`), or else to whoever takes it."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import suppress
from io import FileIO
from pathlib import Path

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from obs_core._export.spool.records import (
    resource_record,
    settled_record,
    span_record,
    unsettled_spans,
)
from obs_core._export.stats import Tally

#: How the names of a directory's segments end; and of one that its process is just beginning.
SUFFIX, HIDDEN_SUFFIX = ".spans", ".new"


class Segment:
    """One file of the spool, locked by this process.

    Attributes:
        path: Where it is.
        is_sealed: No further span is begun in it.
        is_adopted: Another process, which is gone, wrote it.
        failures: How often its spans were offered for replay and not taken by a collector that takes others.
    """

    def __init__(self, path: Path, file: FileIO) -> None:
        self.path = path
        self.is_sealed = self.is_adopted = False
        self.failures = 0
        self._file = file
        self._resources: dict[int, Resource] = {}
        self._begun, self._refused, self._spilled = Tally(), Tally(), Tally()
        self._settled = self._exported = 0

    @classmethod
    def begin(cls, directory: Path) -> Segment:
        """Return a new, empty segment.

        Raises:
            OSError: It cannot be made.
        """
        # renamed when it is locked: found without a lock, it would be taken for a dead process's
        path = directory / f"{time.time_ns()}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        hidden = path.with_suffix(HIDDEN_SUFFIX)
        segment = cls(
            path,
            FileIO(
                os.open(
                    hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600
                ),
                "a",
            ),
        )
        try:
            _locked(segment._file)
            hidden.rename(path)
        except OSError:
            # else a disk without locks would keep an empty file for each span
            segment.close()
            hidden.unlink(missing_ok=True)
            raise
        return segment

    @classmethod
    def adopted(cls, path: Path) -> Segment | None:
        """Return the segment of a process that is gone; None while one lives that has it."""
        with suppress(OSError):
            file = FileIO(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), "a")
            if _locked(file):
                segment = cls(path, file)
                segment.is_sealed = segment.is_adopted = True
                return segment
            file.close()
        return None

    def write(self, span: ReadableSpan) -> int:
        """Append `span`; return how many bytes that took. It counts as queued until `settle` or `spill`.

        Raises:
            ValueError: The segment is closed.
            OSError: The disk does not take it.
        """
        resource = span.resource
        self._begun.add_one()
        try:
            added = 0 if id(resource) in self._resources else self._introduce(resource)
            return added + _append(self._file, span_record(span, id(resource)))
        except BaseException:
            self._refused.add_one()
            raise

    def _introduce(self, resource: Resource) -> int:
        added = _append(self._file, resource_record(id(resource), resource))
        self._resources[id(resource)] = resource
        return added

    def spill(self) -> None:
        """Note that a written span is not queued: it waits here for the replay."""
        self._spilled.add_one()

    def settle(self, span_ids: list[int], *, exported: bool) -> None:
        """Note that spans have left the queue, exported or not."""
        self._settled += len(span_ids)
        if exported:
            self._exported += len(span_ids)
            if not (self.is_sealed and self.is_done):
                _append(self._file, settled_record(span_ids))

    def note_replayed(self, span_ids: list[int]) -> None:
        """Note that spans, which were in no queue any more, have been exported."""
        self._exported += len(span_ids)
        _append(self._file, settled_record(span_ids))

    @property
    def is_resting(self) -> bool:
        """Whether it is sealed and nothing of it is queued any more."""
        return self.is_sealed and self._written == self._settled + self._spilled.value

    @property
    def is_done(self) -> bool:
        """Whether all of it has been exported; of another process's, nobody knows before it is read."""
        return not self.is_adopted and self._written == self._exported

    @property
    def _written(self) -> int:
        """How many spans are in it, or about to be."""
        return self._begun.value - self._refused.value

    @property
    def size(self) -> int:
        """Bytes so far."""
        return os.fstat(self._file.fileno()).st_size

    def unsettled(self) -> list[ReadableSpan]:
        """Read the spans that are still to be exported."""
        with self.path.open("rb") as lines:
            return unsettled_spans(lines)

    def remove(self) -> None:
        """Delete the file, and give its lock back."""
        self.path.unlink(missing_ok=True)
        self._file.close()

    def close(self) -> None:
        """Leave the file to whoever finds it."""
        self._file.close()


def _append(file: FileIO, record: bytes) -> int:
    """Write `record` in one step, which no other thread's record can come into."""
    file.write(record)
    return len(record)


def _locked(file: FileIO) -> bool:
    """Lock `file` for this process; False when another has it, or has removed it just before."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(file.fileno()).st_nlink > 0
