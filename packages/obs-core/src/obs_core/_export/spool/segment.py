"""One file of the spool; it belongs to the living process that has it locked (`fcntl.flock`), or else to whoever takes it."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from obs_core._export.spool.directory import HIDDEN_SUFFIX, SUFFIX
from obs_core._export.spool.records import (
    resource_record,
    settled_ids,
    settled_record,
    span_record,
    spans_without,
)
from obs_core._export.stats import Tally


class SealedError(Exception):
    """The segment takes no further span."""


class Segment:
    """One file of the spool, locked by this process.

    Attributes:
        path: Where it is.
        is_sealed: No further span is begun in it.
        is_adopted: Another process, which is gone, wrote it.
        size: About how many bytes this process has written to it.
        failures: How often its spans were offered for replay and not taken by a collector that takes others.
    """

    def __init__(self, path: Path, file: FileIO) -> None:
        self.path = path
        self.is_sealed = self.is_adopted = False
        self.failures = self.size = 0
        self._file = file
        self._resources: dict[int, Resource] = {}
        self._begun, self._refused, self._spilled = Tally(), Tally(), Tally()
        self._settled = self._gone = 0

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
            SealedError: The segment takes no further span.
            ValueError: The segment is closed.
            OSError: The disk does not take it.
        """
        resource = span.resource
        self._begun.add_one()
        try:
            # asked after the count: whoever seals, and finds all that is counted settled, has the last word
            if self.is_sealed:
                raise SealedError
            added = 0 if id(resource) in self._resources else self._introduce(resource)
            added += _append(self._file, span_record(span, id(resource)))
        except BaseException:
            self._refused.add_one()
            raise
        self.size += added
        return added

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
            self._gone += len(span_ids)
            if not self.is_done:
                _append(self._file, settled_record(span_ids))

    def drop(self, span_ids: list[int]) -> None:
        """Note that spans, which were in no queue any more, are not to be offered again."""
        self._gone += len(span_ids)
        _append(self._file, settled_record(span_ids))

    @property
    def is_resting(self) -> bool:
        """Whether it is sealed and nothing of it is queued any more."""
        return self.is_sealed and self._written == self._settled + self._spilled.value

    @property
    def is_done(self) -> bool:
        """Whether it is sealed and all of it has gone; of another process's, nobody knows before it is read."""
        return self.is_sealed and not self.is_adopted and not self.left

    @property
    def left(self) -> int:
        """How many of its spans have not gone; 0 where another process wrote it."""
        return 0 if self.is_adopted else self._written - self._gone

    @property
    def _written(self) -> int:
        """How many spans are in it, or about to be."""
        # in this order: a span refused in between is counted as written, rather than one too few
        refused = self._refused.value
        return self._begun.value - refused

    def unsettled(self) -> Iterator[ReadableSpan]:
        """Read the spans that have not gone, one by one.

        Raises:
            FileNotFoundError: Someone has deleted the file.
        """
        with self.path.open("rb") as lines:
            gone = settled_ids(lines)
            lines.seek(0)
            yield from spans_without(gone, lines)

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
