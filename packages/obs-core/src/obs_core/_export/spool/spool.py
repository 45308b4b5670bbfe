"""Finished spans on disk until the collector has taken them: see `Spool`. POSIX alone, for its file locks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan

from obs_core._export.spool.segment import HIDDEN_SUFFIX, SUFFIX, Segment
from obs_core._safety.containment import log_failure, warn_once

#: While the collector is down, one file gathers spans up to this size before the next one is begun.
SEGMENT_BYTES = 1 << 20


class Spool:
    """A directory where finished spans are until the collector has taken them, so that they survive this process.

    Each process writes files of its own; those of processes that are gone are replayed by any other that uses the directory.
    `write` may be called by any thread, signal handler or finalizer and takes no lock; everything else is for the export
    thread. A disk that does not take a span costs that span its copy, never its export.

    Args:
        directory: Where; made when it is missing, for this user alone.
        max_bytes: About how much all processes together may keep there; more is not written.
        max_age_s: How old a file may get, in seconds, before it is deleted.
    """

    def __init__(self, directory: Path, max_bytes: int, max_age_s: float) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._current: Segment | None = None
        self._own: set[Segment] = set()
        self._room = max_bytes
        self._is_closed = False

    def write(self, span: ReadableSpan) -> Segment | None:
        """Write `span` to disk; return the segment that holds it, or None where the disk does not take it."""
        if self._room <= 0 or self._is_closed:
            return None
        try:
            return self._write(span)
        except Exception:  # noqa: BLE001 - the disk's errors, and whatever an attribute's __str__ raises
            log_failure(f"writing to the spool {self._directory}")
            return None

    def _write(self, span: ReadableSpan) -> Segment:
        while True:
            segment = self._current
            if segment is None or segment.is_sealed:
                segment = self._current = self._begin()
            try:
                self._room -= segment.write(span)
                return segment
            except ValueError:  # sealed and closed by the export thread in between
                if not segment.is_sealed:
                    raise

    def _begin(self) -> Segment:
        segment = Segment.begin(self._directory)
        self._own.add(segment)
        return segment

    def settle(
        self, batch: Iterable[tuple[ReadableSpan, Segment | None]], *, exported: bool
    ) -> int:
        """Note that `batch` has left the queue; return how many of it are kept here for the replay."""
        by_segment: dict[Segment, list[int]] = {}
        for span, segment in batch:
            if segment is not None:
                by_segment.setdefault(segment, []).append(span.context.span_id)
        try:
            for segment, span_ids in by_segment.items():
                segment.settle(span_ids, exported=exported)
                if segment.is_sealed and segment.is_done:
                    self.remove(segment)
        except (OSError, ValueError):
            log_failure(f"settling the spool {self._directory}")
        return 0 if exported else sum(map(len, by_segment.values()))

    def seal(self, *, when_full: bool) -> None:
        """Begin another file with the next span; `when_full`: only when this one has grown large."""
        segment = self._current
        if segment is not None and (not when_full or segment.size >= SEGMENT_BYTES):
            self._current, segment.is_sealed = None, True
            if segment.is_done:
                self.remove(segment)

    def backlog(self) -> Iterator[Segment]:
        """Yield what waits for a replay: our own segments that are in no queue any more, then those of dead processes."""
        for segment in sorted(self._own, key=lambda segment: segment.path):
            if segment.is_resting:
                yield segment
        known = {segment.path for segment in self._own}
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            if path not in known and (adopted := Segment.adopted(path)):
                self._own.add(adopted)
                yield adopted

    def has_files(self) -> bool:
        """Whether there is anything in the directory, whoever's it is."""
        return any(self._directory.glob(f"*{SUFFIX}"))

    def survey(self) -> None:
        """Count the bytes of the directory, and delete what is too old."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        used, oldest = 0, time.time() - self._max_age_s
        for entry in list(os.scandir(self._directory)):
            with suppress(FileNotFoundError):  # another process was faster
                found = entry.stat()
                used += found.st_size
                if found.st_mtime < oldest and entry.name.endswith((SUFFIX, HIDDEN_SUFFIX)):
                    Path(entry.path).unlink()
                    self._warn("age", f"spans of more than {self._max_age_s:.0f} s ago are deleted")
        self._room = self._max_bytes - used
        if self._room <= 0:
            self._warn(
                "size",
                f"{used} bytes are there, {self._max_bytes} are allowed: no span is added until some are exported",
            )

    def _warn(self, what: str, message: str) -> None:
        warn_once(f"{what} of {self._directory}", f"spool {self._directory}: {message}")

    def remove(self, segment: Segment) -> None:
        """Delete a segment."""
        self._own.discard(segment)
        segment.remove()

    def close(self) -> None:
        """Leave what is there to the next process; delete what is done with."""
        self._is_closed = True
        for segment in list(self._own):
            segment.remove() if segment.is_done else segment.close()
        self._own.clear()

    def disown(self) -> None:
        """Let go of the parent's locks in a forked child: held here, they would outlive the parent."""
        for segment in self._own:
            segment.close()
