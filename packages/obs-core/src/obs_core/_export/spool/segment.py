"""A file of the spool. Owner: the living process that holds the lock (`fcntl.flock`), else the next to lock the file."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan

from obs_core._export.encode.encoder import EncodedItem, Group
from obs_core._export.spool.directory import HIDDEN_SUFFIX, SUFFIX
from obs_core._export.spool.records import (
    group_record,
    settled_ids,
    settled_record,
    span_record,
    spans_without,
)
from obs_core._export.stats import Tally


class SealedError(Exception):
    """The segment takes no further span."""


class Segment:
    """A file of the spool, locked by this process.

    Attributes:
        path: The file.
        is_sealed: No further span is begun in the file.
        is_adopted: The file was written by another process, which is gone.
        size: About how many bytes this process has written.
        failures: How often the spans were offered for replay and refused by a collector that takes other spans.
    """

    def __init__(self, path: Path, file: FileIO) -> None:
        self.path = path
        self.is_sealed = self.is_adopted = False
        self.failures = self.size = 0
        self._file = file
        self._groups: dict[int, Group] = {}
        self._begun, self._refused, self._spilled = Tally(), Tally(), Tally()
        self._settled = self._gone = 0

    @classmethod
    def begin(cls, directory: Path) -> Segment:
        """Return a new, empty segment.

        Raises:
            OSError: The file cannot be made.
        """
        # renamed when it is locked: found without a lock, it would be taken for a dead process's
        path = directory / f"{time.time_ns()}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        hidden = path.with_suffix(HIDDEN_SUFFIX)
        segment = cls(
            path,
            FileIO(
                os.open(
                    hidden,
                    os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC,
                    0o600,
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
        """Return the segment of a process that is gone; None while a living process holds the lock."""
        with suppress(OSError):
            file = FileIO(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), "a")
            if _locked(file):
                segment = cls(path, file)
                segment.is_sealed = segment.is_adopted = True
                return segment
            file.close()
        return None

    def write(self, span: EncodedItem) -> int:
        """Append `span`; return the number of bytes written. The span counts as queued until `settle` or `spill`.

        Raises:
            SealedError: The segment takes no further span.
            ValueError: The segment is closed.
            OSError: The disk does not take the span.
        """
        group = span.group
        self._begun.add_one()
        try:
            # asked after the count: whoever seals, and finds all that is counted settled, has the last word
            if self.is_sealed:
                raise SealedError
            added = self._introduce(group)
            added += _append(self._file, span_record(span, id(group)))
        except BaseException:
            self._refused.add_one()
            raise
        self.size += added
        return added

    def _introduce(self, group: Group) -> int:
        if id(group) in self._groups:
            return 0
        added = _append(self._file, group_record(id(group), group))
        self._groups[id(group)] = group
        return added

    def spill(self) -> None:
        """Note that a written span is not queued, and waits for the replay."""
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
        """Whether the segment is sealed and none of the spans is queued any more."""
        return self.is_sealed and self._written == self._settled + self._spilled.value

    @property
    def is_done(self) -> bool:
        """Whether the segment is sealed and all spans have gone; unknown, hence False, for another process's segment."""
        return self.is_sealed and not self.is_adopted and not self.left

    @property
    def left(self) -> int:
        """How many spans have not gone; 0 if another process wrote the segment."""
        return 0 if self.is_adopted else self._written - self._gone

    @property
    def _written(self) -> int:
        """How many spans are written, or about to be."""
        # in this order: a span refused in between is counted as written, rather than one too few
        refused = self._refused.value
        return self._begun.value - refused

    def unsettled(self) -> Iterator[ReadableSpan | EncodedItem]:
        """Read the spans that have not gone, singly.

        Raises:
            FileNotFoundError: The file was deleted by another program.
        """
        with self.path.open("rb") as lines:
            gone = settled_ids(lines)
            lines.seek(0)
            yield from spans_without(gone, lines)

    def remove(self) -> None:
        """Delete the file and release the lock.

        Raises:
            OSError: The directory has become read-only; the file is empty then, so that nobody sends its spans again.
        """
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            os.ftruncate(self._file.fileno(), 0)
            raise
        finally:
            self._file.close()

    def close(self) -> None:
        """Leave the file to the next process."""
        self._file.close()


def _append(file: FileIO, record: bytes) -> int:
    """Write `record` in a single step; records of different threads do not mix."""
    file.write(record)
    return len(record)


def _locked(file: FileIO) -> bool:
    """Lock `file` for this process; False if another process has the lock, or has just removed the file."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(file.fileno()).st_nlink > 0
