"""Finished spans on disk until the collector has taken the spans. POSIX alone, for the file locks."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan

from obs_core._export.backends import Shown
from obs_core._export.encode.encoder import EncodedItem, Encoder
from obs_core._export.spool.directory import SpoolDirectory
from obs_core._export.spool.records import span_id_of
from obs_core._export.spool.segment import SealedError, Segment
from obs_core._safety.containment import log_failure

#: A file gathers spans up to about this size before the next one is begun.
SEGMENT_BYTES = 1 << 20
#: How long a disk is not asked again that has refused a new file, in seconds.
_REFUSED_S = 1.0


class Spool:
    """A directory that keeps finished spans until the collector has taken the spans, to survive this process.

    Each process writes separate files; the files of processes that are gone are replayed by any process that uses the
    directory. `write` may be called by any thread, signal handler or finalizer and takes no lock; all other methods are for
    the export thread. A span that the disk does not take has no copy on disk, and is exported all the same.

    Args:
        directory: The directory; made if missing, for this user alone.
        max_bytes: About how much all processes together may keep in the directory; further spans are not written.
        max_age_s: The age of a file, in seconds, at which the file is deleted.
        encoder: Encodes spans.
        shown: Returns a span as the backend reads it.
    """

    def __init__(
        self,
        directory: Path,
        max_bytes: int,
        max_age_s: float,
        encoder: Encoder | None = None,
        shown: Shown | None = None,
    ) -> None:
        self._shown = shown
        self._encoder = encoder or Encoder()
        self._directory = SpoolDirectory(directory, max_bytes, max_age_s)
        self._current: Segment | None = None
        self._own: set[Segment] = set()
        self._is_closed = False
        self._refused_until = 0.0

    def write(
        self, span: ReadableSpan | EncodedItem
    ) -> tuple[EncodedItem, Segment] | None:
        """Write `span` to disk; return it encoded, and the segment, or None if the disk does not take the span."""
        if self._directory.is_full or self._is_closed or self._is_refused():
            return None
        try:
            if self._shown is not None and isinstance(span, ReadableSpan):
                span = self._shown(span)
            encoded = self._encoder.span(span)
            return encoded, self._write(encoded)
        except Exception:  # noqa: BLE001 - the disk's errors, and whatever an attribute raises
            log_failure(f"writing to the spool {self._directory.path}")
            return None

    def _write(self, span: EncodedItem) -> Segment:
        while True:
            segment = self._current
            if segment is None or segment.is_sealed:
                segment = self._current = self._begin()
            try:
                self._directory.note_added(segment.write(span))
            except SealedError:
                continue
            # here, not by the export thread alone, which may wait long for a collector that is down
            if segment.size >= SEGMENT_BYTES:
                segment.is_sealed = True
            return segment

    def _is_refused(self) -> bool:
        """Whether the disk has just refused a new file; asked again at each span, it would hold up each caller."""
        return bool(self._refused_until) and time.monotonic() < self._refused_until

    def _begin(self) -> Segment:
        try:
            segment = Segment.begin(self._directory.path)
        except OSError:
            self._refused_until = time.monotonic() + _REFUSED_S
            raise
        self._refused_until = 0.0
        self._own.add(segment)
        return segment

    def settle(
        self,
        batch: Iterable[tuple[ReadableSpan | EncodedItem, Segment | None]],
        *,
        exported: bool,
    ) -> int:
        """Note that `batch` has left the queue; return how many spans are kept here for the replay."""
        by_segment: dict[Segment, list[int]] = {}
        for span, segment in batch:
            if segment is not None:
                by_segment.setdefault(segment, []).append(span_id_of(span))
        for segment, span_ids in by_segment.items():
            try:
                segment.settle(span_ids, exported=exported)
                if segment.is_done:
                    self.remove(segment)
            except (OSError, ValueError):
                log_failure(f"settling the spool {self._directory.path}")
        return 0 if exported else sum(map(len, by_segment.values()))

    def seal(self) -> None:
        """Begin another file with the next span, and delete finished files."""
        # all of them: two threads that began one at the same moment left one behind that is not the current one
        for segment in list(self._own):
            segment.is_sealed = True
        for segment in list(self._own):
            if segment.is_done:
                self._remove_or_log(segment)

    def _remove_or_log(self, segment: Segment) -> None:
        try:
            self.remove(segment)
        except OSError:
            log_failure(f"deleting files of the spool {self._directory.path}")

    def survey(self) -> None:
        """Look after the directory's bounds."""
        try:
            self._directory.survey()
        except OSError:
            log_failure(f"counting the bytes of the spool {self._directory.path}")

    def oldest(self) -> Segment | None:
        """Return the oldest file that waits for a replay: in no queue any more, or of a process that is gone."""
        own = {segment.path: segment for segment in list(self._own)}
        for path in sorted({*own, *self._directory.files()}):
            segment = own.get(path) or self._adopt(path)
            if segment is not None and segment.is_resting:
                return segment
        return None

    def _adopt(self, path: Path) -> Segment | None:
        adopted = Segment.adopted(path)
        if adopted is not None:
            self._own.add(adopted)
        return adopted

    def has_files(self) -> bool:
        """Whether the directory has files, of any process."""
        return bool(self._directory.files())

    def remove(self, segment: Segment) -> None:
        """Delete a segment."""
        self._own.discard(segment)
        segment.remove()

    def close(self) -> None:
        """Leave unfinished files to the next process; delete finished files."""
        self._is_closed = True
        self.seal()
        for segment in list(self._own):
            segment.close()
        self._own.clear()

    def disown(self) -> None:
        """Close the parent's files in a forked child: locks held here would outlive the parent."""
        for segment in list(self._own):
            segment.close()
