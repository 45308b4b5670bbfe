"""The export thread's care for the spool: files begun anew, kept within their bounds, and offered to the collector again."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice

from opentelemetry.sdk.trace import ReadableSpan

from obs_core._export.options import BatchOptions
from obs_core._export.spool.segment import Segment
from obs_core._export.spool.spool import Spool
from obs_core._export.stats import Counts
from obs_core._safety.containment import log_failure, warn_once

#: How often a file is offered to a collector that takes other spans, before it is given up.
MAX_FAILURES = 3


class Replay:
    """Offers what is in a spool and in no queue. For the export thread; whatever fails is logged, and tried again later.

    Args:
        spool: Where the spans are.
        counts: Where they are counted.
        options: Of the exports; every `schedule_delay_s`, at most, the spool is looked after.
        offer: Exports a batch; whether it was taken.
        is_called_away: Whether the export thread is wanted elsewhere; asked before each batch.
    """

    def __init__(
        self,
        spool: Spool,
        counts: Counts,
        options: BatchOptions,
        offer: Callable[[list[ReadableSpan]], bool],
        is_called_away: Callable[[], bool],
    ) -> None:
        self._spool = spool
        self._counts = counts
        self._options = options
        self._offer = offer
        self._is_called_away = is_called_away
        self._due_at = 0.0

    def prepare(self, *, is_outage: bool) -> bool:
        """Begin a new file and look at the bounds, where that is due; True when it was."""
        if time.monotonic() < self._due_at:
            return False
        self._due_at = time.monotonic() + self._options.schedule_delay_s
        try:
            self._spool.survey()
            self._spool.seal(when_full=is_outage)
        except OSError:
            log_failure("the spool's upkeep")
        return True

    def run(self, *, is_proven: bool) -> None:
        """Offer file by file until one is not taken.

        Args:
            is_proven: The collector has just taken other spans, so that it is the file's fault when it does not take these.
        """
        try:
            for segment in self._spool.backlog():
                if self._is_called_away():
                    return
                if not self._offer_all(segment):
                    self._note_failure(segment, is_proven)
                    return
                is_proven = True
        except Exception:  # noqa: BLE001 - the disk's errors, in a thread that has more to do
            log_failure("the spool's replay")

    def _offer_all(self, segment: Segment) -> bool:
        waiting = iter(segment.unsettled())
        while batch := list(islice(waiting, self._options.max_export_batch_size)):
            if self._is_called_away():
                return True
            if not self._offer(batch):
                return False
            segment.note_replayed([span.context.span_id for span in batch])
            self._counts.replay(len(batch), own=not segment.is_adopted)
        self._spool.remove(segment)
        return True

    def _note_failure(self, segment: Segment, is_proven: bool) -> None:
        segment.failures += is_proven
        if segment.failures >= MAX_FAILURES:
            warn_once(
                "replay",
                f"the collector takes spans, but not those of {segment.path}: such files are deleted",
            )
            self._counts.give_up(0 if segment.is_adopted else len(segment.unsettled()))
            self._spool.remove(segment)
