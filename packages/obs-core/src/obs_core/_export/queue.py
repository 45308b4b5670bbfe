"""The queue of finished spans that wait for export; the end of each span is counted once."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from opentelemetry.sdk.trace import ReadableSpan

from obs_core._export.stats import Counts

if TYPE_CHECKING:
    from obs_core._export.encode.encoder import EncodedItem
    from obs_core._export.spool.segment import Segment
    from obs_core._export.spool.spool import Spool

QueuedSpan: TypeAlias = "ReadableSpan | EncodedItem"


class SpanQueue:
    """A bounded queue in memory; with a spool, each queued span is on disk too.

    `put` never waits and takes no lock: threads that put at the very same moment may exceed `max_size` by a span each.

    Args:
        max_size: Spans kept; further spans are turned away.
        counts: Counts the end of each span.
        spool: Keeps spans on disk until they are exported, or None.
        takes_encoded: Whether the exporter takes spans as the spool has encoded them.
    """

    def __init__(
        self, max_size: int, counts: Counts, spool: Spool | None, *, takes_encoded: bool
    ) -> None:
        self._takes_encoded = takes_encoded
        self._max_size = max_size
        self._counts = counts
        self._spool = spool
        self._waiting: deque[tuple[QueuedSpan, Segment | None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether further spans are turned away."""
        return len(self._waiting) >= self._max_size

    def put(self, span: QueuedSpan, *, is_open: bool, is_outage: bool) -> int:
        """Queue `span` and return how many spans wait; 0 if the span is left to the spool, or dropped."""
        entry = (span, None) if self._spool is None else self._entry(span)
        if is_open and (queued := len(self._waiting)) < self._max_size:
            self._waiting.append(entry)
            return queued + 1
        self._leave_out(entry[1], is_open=is_open, is_outage=is_outage)
        return 0

    def _leave_out(
        self, segment: Segment | None, *, is_open: bool, is_outage: bool
    ) -> None:
        """Count a span that is not queued, and leave it to the spool if it is on disk."""
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

    def _entry(self, span: QueuedSpan) -> tuple[QueuedSpan, Segment | None]:
        """Return `span` as it is to wait: encoded where the spool has done so already, and the exporter takes it."""
        if self._spool is None or (written := self._spool.write(span)) is None:
            return span, None
        encoded, segment = written
        if self._takes_encoded:
            return encoded, segment
        return span, segment

    def head(self, size: int) -> list[QueuedSpan]:
        """Return the first `size` spans without removing the spans."""
        return [self._waiting[index][0] for index in range(size)]

    def take_out(self, size: int, *, exported: bool, rejected: int = 0) -> None:
        """Remove the first `size` spans, exported but for those `rejected`, or given up."""
        taken = self._pop(size)
        kept = (
            self._spool.settle(taken, exported=exported)
            if self._spool is not None
            else 0
        )
        if exported:
            self._counts.take(len(taken), rejected)
        else:
            self._counts.failed += len(taken) - kept
            self._counts.keep(kept)

    def abandon(self) -> None:
        """Remove the remaining spans at the end."""
        left = self._pop(len(self._waiting))
        kept = sum(segment is not None for _, segment in left)
        self._counts.abandoned += len(left) - kept
        self._counts.keep(kept)

    def close(self) -> None:
        """Leave the spool's spans to the next process."""
        if self._spool is not None:
            self._spool.close()

    def disown(self) -> None:
        """Let go of the files of the parent, in a forked child."""
        if self._spool is not None:
            self._spool.disown()

    def _pop(self, size: int) -> list[tuple[QueuedSpan, Segment | None]]:
        """Remove up to `size` spans; each span is returned to a single caller, and counted once."""
        taken: list[tuple[QueuedSpan, Segment | None]] = []
        with suppress(IndexError):
            while len(taken) < size:
                taken.append(self._waiting.popleft())
        return taken
