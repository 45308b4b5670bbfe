"""Replay the spool on the export thread: offer the backlog to the collector, keep the files within bounds."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from itertools import chain, islice
from typing import Protocol

from obs_core._export.queue import QueuedSpan
from obs_core._export.request_size import how_many_fit
from obs_core._export.spool.records import span_id_of
from obs_core._export.spool.segment import Segment
from obs_core._export.spool.spool import Spool
from obs_core._export.stats import Counts
from obs_core._safety.containment import log_failure, warn_once

#: How often a batch is offered to a collector that takes other spans, before it is given up.
MAX_FAILURES = 3


class Offer(Protocol):
    """Exports and counts a batch."""

    def __call__(self, batch: list[QueuedSpan], *, own: bool) -> bool: ...


class Replay:
    """Offers the spans that are in a spool and in no queue, oldest first, a batch at a time, beside the live spans.

    For the export thread. After a batch, the replay rests for as long as the batch took: a long backlog leaves half of the
    thread's time to the program. Failures are logged and tried again later.

    Args:
        spool: Holds the spans.
        counts: Counts the spans.
        batch_size: Spans offered at once.
        offer: Exports a batch, this process's own or another's, and counts; returns whether the batch was taken.

    Attributes:
        due_at: The time of the next batch (`time.monotonic`); infinite without a known batch.
    """

    def __init__(
        self,
        spool: Spool,
        counts: Counts,
        batch_size: int,
        offer: Offer,
    ) -> None:
        self.due_at = math.inf
        self._spool = spool
        self._counts = counts
        self._batch_size = batch_size
        self._offer = offer
        self._segment: Segment | None = None
        self._waiting: Iterator[QueuedSpan] = iter(())
        self._batch: list[QueuedSpan] = []
        self._is_proven = False

    def look_after(self, *, seal: bool) -> None:
        """Keep the directory's bounds, and look for a backlog again.

        Args:
            seal: Begin a new file with the next span; the current file becomes part of the backlog.
        """
        self.due_at = 0.0
        self._spool.survey()
        if seal:
            self._spool.seal()

    def note_live(self, *, taken: bool) -> None:
        """Note whether the collector took a batch of live spans: if so, a refused replay batch is itself at fault.

        If not, no batch is offered before `look_after` is called again.
        """
        if taken:
            self._note_taken()
        else:
            self._is_proven = False
            self._postpone()

    def _note_taken(self) -> None:
        if not self._is_proven:
            # what has been written in the outage waits its turn by age
            self._spool.seal()
        self._is_proven = True

    def _postpone(self) -> None:
        self.due_at = math.inf

    def offer_batch(self) -> None:
        """Offer the next batch, if due."""
        began = time.monotonic()
        if began < self.due_at:
            return
        self._postpone()
        try:
            if self._offer_next():
                now = time.monotonic()
                self.due_at = now + (now - began)
        except Exception:  # noqa: BLE001 - the disk's errors, in a thread that has more to do
            log_failure("the spool's replay")
            self._segment = None

    def _offer_next(self) -> bool:
        """Offer the next batch; return whether a batch was offered and taken."""
        segment = self._segment or self._open_oldest()
        if segment is None:
            return False
        batch = self._batch
        if not self._offer(batch, own=not segment.is_adopted):
            self._note_refusal(segment, batch)
            return False
        segment.drop(_ids(batch))
        segment.failures = 0
        self._note_taken()
        self._read_on(segment)
        return True

    def _open_oldest(self) -> Segment | None:
        """Begin to read the oldest file that has spans left; delete files without spans left."""
        while self._segment is None and (found := self._spool.oldest()):
            self._segment, self._waiting = found, found.unsettled()
            self._read_on(found)
        return self._segment

    def _read_on(self, segment: Segment) -> None:
        """Read the next batch; after the last batch, delete the file."""
        try:
            batch = list(islice(self._waiting, self._batch_size))
        except FileNotFoundError:  # deleted for its age, or by someone who cleaned up
            batch = []
        fit = how_many_fit(batch)
        self._batch, left = batch[:fit], batch[fit:]
        if left:
            self._waiting = chain(left, self._waiting)
        if not self._batch:
            self._segment = None
            self._counts.give_up(segment.left)
            self._spool.remove(segment)

    def _note_refusal(self, segment: Segment, batch: list[QueuedSpan]) -> None:
        # read anew when it is offered again
        self._segment = None
        segment.failures += self._is_proven
        self._is_proven = False
        if segment.failures < MAX_FAILURES:
            return
        warn_once(
            "replay",
            f"the collector takes spans, but not {len(batch)} of {segment.path}: "
            "such spans are deleted",
        )
        segment.failures = 0
        segment.drop(_ids(batch))
        self._counts.give_up(0 if segment.is_adopted else len(batch))


def _ids(batch: list[QueuedSpan]) -> list[int]:
    return [span_id_of(span) for span in batch]
