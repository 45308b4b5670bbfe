"""Finished spans that wait for export, and what becomes of each: counted once."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan

from obs_core._export.stats import Counts

if TYPE_CHECKING:
    from obs_core._export.spool.segment import Segment
    from obs_core._export.spool.spool import Spool


class SpanQueue:
    """A bounded queue in memory; with a spool, each of its spans is on disk too.

    `put` never waits and takes no lock: threads that put at the very same moment may overfill it by one span each.

    Args:
        max_size: Spans kept; more are turned away.
        counts: Where each span's end is counted.
        spool: Where spans are until they are exported, or None.
    """

    def __init__(self, max_size: int, counts: Counts, spool: Spool | None) -> None:
        self._max_size = max_size
        self._counts = counts
        self._spool = spool
        self._waiting: deque[tuple[ReadableSpan, Segment | None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, span: ReadableSpan, *, is_open: bool, is_outage: bool) -> bool:
        """Queue `span`; False when that cannot be: it is left to the spool, or dropped."""
        segment = self._spool.write(span) if self._spool is not None else None
        if is_open and len(self._waiting) < self._max_size:
            self._waiting.append((span, segment))
            return True
        counts = self._counts
        if segment is not None:
            segment.spill()
            counts.spooled.add_one()
        elif not is_open:
            counts.dropped_late.add_one()
        elif is_outage:
            counts.dropped_outage.add_one()
        else:
            counts.dropped_queue_full.add_one()
        return False

    def head(self, size: int) -> list[ReadableSpan]:
        """Return the first `size` spans, and leave them there."""
        return [self._waiting[index][0] for index in range(size)]

    def take_out(self, size: int, *, exported: bool) -> None:
        """Remove the first `size` spans: they have been exported, or given up."""
        taken = self._pop(size)
        kept = self._spool.settle(taken, exported=exported) if self._spool is not None else 0
        if exported:
            self._counts.exported += len(taken)
        else:
            self._counts.failed += len(taken) - kept
            self._counts.keep(kept)

    def abandon(self) -> None:
        """Remove what is left at the end."""
        left = self._pop(len(self._waiting))
        kept = sum(segment is not None for _, segment in left)
        self._counts.abandoned += len(left) - kept
        self._counts.keep(kept)

    def close(self) -> None:
        """Leave what is in the spool to the next process."""
        if self._spool is not None:
            self._spool.close()

    def disown(self) -> None:
        """Let go of the files of the parent, in a forked child."""
        if self._spool is not None:
            self._spool.disown()

    def _pop(self, size: int) -> list[tuple[ReadableSpan, Segment | None]]:
        """Remove up to `size` spans; each is given to one caller only, so it is counted once."""
        taken: list[tuple[ReadableSpan, Segment | None]] = []
        with suppress(IndexError):
            while len(taken) < size:
                taken.append(self._waiting.popleft())
        return taken
