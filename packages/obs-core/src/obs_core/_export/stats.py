"""Counts of spans by the way each span ended."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from obs_core._export.wakeup import original


@dataclass(frozen=True, slots=True)
class ExportStats:
    """Counts of sampled spans in this process since set-up, or since the fork that made the process.

    Every ended span is in exactly one of `exported` to `spooled`, or still queued.

    The spans of a kept request count as begun when they are given to the export.

    Attributes:
        started: Begun.
        exported: Taken by the collector.
        failed: Offered several times and not taken, or rejected by the collector in a batch that it has taken.
        dropped_queue_full: Ended while the queue was full and the collector up: more spans a second than can be exported.
        dropped_outage: Ended while the queue was full and the collector down, or not yet taken when tracing was stopped.
        spooled: On disk alone, for the replay by this process or the next (`spool_dir`).
        replayed: Spans of processes that are gone, which this process took from the disk to the collector.
        kept: Of those begun, the spans of requests that are not sampled, but kept.
        dropped_unsampled: Not among those begun: spans of unsampled requests that a bound of `Keep` has cost.
    """

    started: int = 0
    exported: int = 0
    failed: int = 0
    dropped_queue_full: int = 0
    dropped_outage: int = 0
    spooled: int = 0
    replayed: int = 0
    kept: int = 0
    dropped_unsampled: int = 0


class Tally:
    """A count that any thread, signal handler or finalizer may raise: `add_one` is a single step and takes no lock."""

    __slots__ = ("_lock", "_reads", "add_one")

    def __init__(self) -> None:
        self.add_one = count().__next__
        self._reads = 0
        self._lock = original("_thread", "RLock")()

    @property
    def value(self) -> int:
        """The current count. Invariant: a read takes a number too, and `_reads` is subtracted."""
        with self._lock:
            found = self.add_one() - self._reads
            self._reads += 1
            return found


class Counts:
    """The running counts. `exported` and `failed` belong to the export thread, `abandoned` to the thread that stops."""

    __slots__ = (
        *(
            "_unspooled",
            "abandoned",
            "dropped_late",
            "dropped_outage",
            "dropped_queue_full",
        ),
        *("exported", "failed", "replayed", "spooled", "started"),
        *("dropped_unsampled", "kept"),
    )

    def __init__(self) -> None:
        self.started, self.spooled = Tally(), Tally()
        self.dropped_queue_full, self.dropped_outage = Tally(), Tally()
        self.dropped_late = Tally()
        self.kept, self.dropped_unsampled = Tally(), Tally()
        self.exported = self.failed = self.abandoned = self.replayed = (
            self._unspooled
        ) = 0

    def keep(self, spans: int) -> None:
        """Note that spans have left the queue and are on disk alone."""
        for _ in range(spans):
            self.spooled.add_one()

    def take(self, spans: int, rejected: int) -> None:
        """Note that the collector took a batch of so many spans, but for those `rejected`."""
        self.exported += spans - rejected
        self.failed += rejected

    def replay(self, spans: int, *, own: bool, rejected: int = 0) -> None:
        """Note that the collector took a batch from the disk, but for those `rejected`."""
        if own:
            self.take(spans, rejected)
            self._unspooled += spans
        else:
            self.replayed += spans - rejected

    def give_up(self, spans: int) -> None:
        """Note that spans of this process were deleted from the disk."""
        self.failed += spans
        self._unspooled += spans

    @property
    def lost(self) -> int:
        """All that will never arrive."""
        return self.failed + self.dropped_queue_full.value + self._dropped_outage

    @property
    def _dropped_outage(self) -> int:
        return self.dropped_outage.value + self.dropped_late.value + self.abandoned

    def processed(self) -> dict[str, int]:
        """The spans that a processor of the SDK would count, by ``error.type``; empty text: given to the exporter."""
        return {
            "": self.exported + self.failed + self.replayed,
            "queue_full": self.dropped_queue_full.value + self.dropped_outage.value,
            "already_shutdown": self.dropped_late.value,
        }

    def snapshot(self) -> ExportStats:
        """A copy that does not change any more."""
        return ExportStats(
            started=self.started.value,
            exported=self.exported,
            failed=self.failed,
            dropped_queue_full=self.dropped_queue_full.value,
            dropped_outage=self._dropped_outage,
            spooled=self.spooled.value - self._unspooled,
            replayed=self.replayed,
            kept=self.kept.value,
            dropped_unsampled=self.dropped_unsampled.value,
        )
