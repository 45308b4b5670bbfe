"""The export of a signal; after a fork, a child starts with a new queue, exporter and thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from obs_core._export.backends import for_backend
from obs_core._export.exporters import is_direct
from obs_core._export.options import BatchOptions, SpoolOptions
from obs_core._export.outage import OutageLog
from obs_core._export.queue import QueuedSpan
from obs_core._export.sender import BuildExporter, Sender
from obs_core._export.signals import Exporter, Signal
from obs_core._export.state import State
from obs_core._export.stats import ExportStats
from obs_core._export.worker import ExportWorker
from obs_core._safety.fork_watch import fork_watch

if TYPE_CHECKING:
    from obs_core._export.spool.spool import Spool


class SignalExport:
    """Hands finished items of a signal to an exporter on a separate thread: see `ExportWorker`.

    Thread-safe, and safe in signal handlers and finalizers. After a fork the child has an empty queue, fresh counts, a new
    exporter (an inherited connection is never used: https://github.com/open-telemetry/opentelemetry-python/issues/4994) and a
    thread that starts with the child's first item.

    Args:
        signal: What is exported.
        build: Makes the exporter, here and in each child.
        destination: The collector's name in log lines, without credentials.
        options: Batches, queue, time at exit.
        spool: Keeps what is not exported yet on disk, or None.
        mask: Removes secrets from the exporters' complaints.
    """

    def __init__(
        self,
        signal: Signal,
        build: BuildExporter,
        destination: str,
        options: BatchOptions | None = None,
        spool: SpoolOptions | None = None,
        *,
        mask: Callable[[str], str] = str,
    ) -> None:
        self.signal = signal
        self._build = build
        self._destination = destination
        self._mask = mask
        self._options = options or BatchOptions()
        self._spool = spool
        self._inherited: list[ExportWorker] = []
        exporter = build()
        self.exporter_type: type[Exporter] = type(exporter)
        self._worker = self._new_worker(exporter)
        self._worker.take_over()
        fork_watch.call_in_child(self.after_fork_in_child)

    def _new_worker(self, exporter: Exporter | None = None) -> ExportWorker:
        outage = OutageLog(self._destination, self._mask, self.signal.noun)
        shown = for_backend(self._options.backend)
        sender = Sender(self._build, outage, exporter, shown, self.signal)
        takes_encoded = is_direct(self.exporter_type)
        return ExportWorker(
            sender,
            outage,
            self._options,
            self._open_spool(),
            takes_encoded=takes_encoded,
        )

    def _open_spool(self) -> Spool | None:
        options = self._spool
        if options is None:
            return None
        from obs_core._export.direct import encoder_of
        from obs_core._export.spool.spool import Spool

        encoder = encoder_of(self.exporter_type)
        bounds = options.max_bytes, options.max_age_s
        return Spool(options.dir, *bounds, encoder, for_backend(self._options.backend))

    def put(self, item: QueuedSpan) -> None:
        """Count and queue a finished item, or drop it; never waits."""
        self._worker.counts.started.add_one()
        self._worker.put(item)

    def begin_flush(self) -> Callable[[float], bool]:
        """Begin to export all that is queued; return what waits for the end: see `ExportWorker.begin_flush`."""
        fork_watch.notice()
        return self._worker.begin_flush()

    def begin_shutdown(self) -> None:
        """Take nothing more and begin to export what is queued; `shutdown` waits for the end."""
        fork_watch.notice()
        self._worker.begin_stop()

    def shutdown(self, timeout_s: float | None = None) -> None:
        """Export what is queued, close the exporter, and always return within `timeout_s` (default `exit_timeout_s`)."""
        fork_watch.notice()
        self._worker.stop(
            self._options.exit_timeout_s if timeout_s is None else timeout_s
        )

    def after_fork_in_child(self) -> None:
        """Start afresh: nothing of the parent's queue, counts and connection belongs to this process."""
        before, self._worker = self._worker, self._new_worker()
        if before.is_stopping:
            self._worker.state = State.STOPPING
        # kept alive, since closing a connection that the parent still uses may speak on it
        before.disown()
        self._inherited.append(before)

    def stats(self) -> ExportStats:
        """Return this process's current counts."""
        fork_watch.notice()
        return self._worker.counts.snapshot()

    def processed(self) -> dict[str, int]:
        """Return this process's counts for the SDK's metrics: see `Counts.processed`."""
        return self._worker.counts.processed()

    @property
    def queue_size(self) -> int:
        """How many items are queued."""
        return self._worker.queued

    @property
    def queue_capacity(self) -> int:
        """How many items may be queued."""
        return self._options.max_queue_size
