"""The thread that exports: a bounded queue, deadlines that hold, and each span counted once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value

from obs_core._export.flush_requests import FlushRequests
from obs_core._export.options import BatchOptions
from obs_core._export.outage import OutageLog
from obs_core._export.queue import QueuedSpan, SpanQueue
from obs_core._export.sender import CLOSE_RESERVE_S, Sender
from obs_core._export.state import State
from obs_core._export.stats import Counts
from obs_core._export.wakeup import Signal, start_thread, wait_until

if TYPE_CHECKING:
    from obs_core._export.spool.replay import Replay
    from obs_core._export.spool.spool import Spool

#: How often one batch is offered before it is given up, so that one the collector will never take cannot block the rest. While
#: the collector takes nothing at all, that counts only where there is no room for more.
MAX_ATTEMPTS = 3


class ExportWorker:
    """The queue and export thread of a process; the thread starts with the first span, or with spans to replay.

    `put` never waits: a span that finds the queue full is dropped and counted, or left to the spool. A batch that the
    collector does not take stays at the head of the queue and is offered again: see `MAX_ATTEMPTS`. Under eventlet the
    thread is a greenlet: see `obs_core._export.wakeup`.

    Attributes:
        counts: Counts the end of each span.
        state: See `State`.
    """

    def __init__(
        self,
        sender: Sender,
        outage: OutageLog,
        options: BatchOptions,
        spool: Spool | None,
        *,
        takes_encoded: bool,
    ) -> None:
        self.counts = Counts()
        self.state = State.RUNNING
        self._sender = sender
        self._outage = outage
        self._options = options
        self._spool = spool
        self._queue = SpanQueue(
            options.max_queue_size, self.counts, spool, takes_encoded=takes_encoded
        )
        self._replay = self._build_replay()
        self._period_ends, self._due = 0.0, 0
        self._flushes = FlushRequests()
        self._wake = Signal()
        self._attempts = 0
        self._has_thread = self._has_begun_to_stop = False
        self._start_lock = threading.Lock()
        self._is_finished = False

    def _build_replay(self) -> Replay | None:
        if self._spool is None:
            return None
        from obs_core._export.spool.replay import Replay

        size = self._options.max_export_batch_size
        return Replay(self._spool, self.counts, size, self._offer_again)

    @property
    def is_stopping(self) -> bool:
        """Whether no further span is queued."""
        return self.state in (State.STOPPING, State.ABANDONED)

    @property
    def queued(self) -> int:
        """How many spans wait in memory."""
        return len(self._queue)

    def take_over(self) -> None:
        """Start the thread already if processes that are gone may have left spans."""
        if self._spool is not None and self._spool.has_files():
            self._start()

    def put(self, span: QueuedSpan) -> None:
        """Queue `span`, or drop and count the span."""
        outage, state = self._outage, self.state
        is_open = state is not State.STOPPING and state is not State.ABANDONED
        queued = self._queue.put(span, is_open=is_open, is_outage=outage.is_suspected)
        if not queued:
            return
        if not self._has_thread:
            self._start()
        if queued >= self._options.max_export_batch_size and not outage.is_down:
            self._wake.send()
        if self.state is State.ABANDONED:
            self._abandon()

    def _start(self) -> None:
        if not self._start_lock.acquire(blocking=False):
            return
        try:
            if not self._has_thread:
                self._wake = Signal()
                start_thread(self._run, "obs-core-export")
                self._has_thread = True
        except RuntimeError:
            pass  # no thread can start while the interpreter shuts down: `stop` counts what is left
        finally:
            self._start_lock.release()

    def _run(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        self._period_ends = time.monotonic() + self._options.schedule_delay_s
        while self.state is State.RUNNING:
            self._wake.wait(self._time_to_next_turn())
            self._serve()
        if self.state is State.DISOWNED:
            # only a greenlet gets here, since it survives a fork; it may not end, as `threading` has forgotten it there
            threading.Event().wait()
        self._export_pending()
        self._flushes.serve(self._export_pending)
        self._sender.close()
        self._queue.close()
        self._is_finished = True

    def _serve(self) -> None:
        if self.state is not State.RUNNING:
            return
        if self._flushes:
            self._flushes.serve(self._export_pending)
        else:
            self._take_turn()

    def _time_to_next_turn(self) -> float:
        if self._is_batch_due():
            return 0.0
        next_turn = self._period_ends
        if self._replay is not None:
            next_turn = min(next_turn, self._replay.due_at)
        return max(0.0, next_turn - time.monotonic())

    def _is_batch_due(self) -> bool:
        size = self._options.max_export_batch_size
        is_full = len(self._queue) >= size and not self._outage.is_down
        return is_full or min(self._due, len(self._queue)) > 0

    def _take_turn(self) -> None:
        """Export the next batch if due, then a batch of the backlog: neither holds up the other."""
        if time.monotonic() >= self._period_ends:
            self._begin_period()
        if self._is_batch_due() and not self._export_batch():
            self._due = 0
        elif self._replay is not None:
            self._replay.offer_batch()

    def _begin_period(self) -> None:
        """Make all that is queued due: nothing waits longer than `schedule_delay_s`."""
        self._period_ends = time.monotonic() + self._options.schedule_delay_s
        self._due = len(self._queue)
        if self._replay is not None:
            # in an outage, where live spans are offered first, files may grow
            self._replay.look_after(seal=not (self._outage.is_down and self._queue))

    def _export_pending(self) -> bool:
        """Export batch after batch until the queue is empty; False at the first batch that is not taken."""
        while self._queue and self.state is not State.ABANDONED:
            if not self._export_batch():
                return False
        return not self._queue

    def _export_batch(self) -> bool:
        size, taken = self._offer_head()
        self._due -= size
        if self._queue.is_full or not self._sender.is_unavailable:
            self._attempts += 1
        if taken or self._attempts >= MAX_ATTEMPTS:
            self._attempts = 0
            rejected = self._sender.rejected
            self._queue.take_out(size, exported=taken, rejected=rejected)
        if self._replay is not None:
            self._replay.note_live(taken=taken)
        if not self.is_stopping:
            self._outage.observe(taken, lambda: self.counts.lost)
        return taken

    def _offer_head(self) -> tuple[int, bool]:
        """Offer the first spans of the queue, as many as one request may have; return how many, and whether they were taken."""
        size = min(len(self._queue), self._options.max_export_batch_size)
        while True:
            taken = self._sender.offer(self._queue.head(size))
            if not self._sender.is_too_large:
                return size, taken
            size //= 2

    def _offer_again(self, batch: list[QueuedSpan], *, own: bool) -> bool:
        taken = self._sender.offer(batch)
        if taken:
            rejected = self._sender.rejected
            self.counts.replay(len(batch), own=own, rejected=rejected)
            self._outage.observe(True, lambda: self.counts.lost)
        return taken

    def flush(self, timeout_s: float) -> bool:
        """Export all queued spans; False if not all were taken within `timeout_s`."""
        return self.begin_flush()(timeout_s)

    def begin_flush(self) -> Callable[[float], bool]:
        """Begin to export all queued spans; the function returned waits at most so many seconds, as `flush` does."""
        if not self._has_thread:
            return lambda _: not self._queue
        if self.is_stopping:
            return self._is_all_taken
        return self._flushes.ask(self._hurry)

    def _is_all_taken(self, timeout_s: float) -> bool:
        return wait_until(lambda: self._is_finished, timeout_s) and not (
            self.counts.abandoned or self.counts.spooled.value
        )

    def begin_stop(self) -> None:
        """Queue nothing more, and begin to export what is queued; `stop` waits for the end."""
        if not self.is_stopping:
            self.state = State.STOPPING
            self._has_begun_to_stop = True
            self._hurry()

    def _hurry(self) -> None:
        """Let the thread look at once for what is asked of it."""
        self._wake.send()
        self._sender.hurry()

    def stop(self, timeout_s: float) -> None:
        """Export the queued spans, close the exporter, and always return within `timeout_s`. A second call does nothing."""
        self.begin_stop()
        if not self._has_begun_to_stop:
            return
        self._has_begun_to_stop = False
        deadline = time.monotonic() + timeout_s
        if not self._has_thread:
            self._sender.close_elsewhere(deadline)
        elif not wait_until(lambda: self._is_finished, timeout_s - CLOSE_RESERVE_S):
            self._abandon()
            self._outage.conclude()
            self._sender.close_elsewhere(deadline)
        self._abandon()
        self._queue.close()
        stats = self.counts.snapshot()
        if self.counts.lost or stats.spooled:
            self._outage.report_exit(stats)

    def _abandon(self) -> None:
        self.state = State.ABANDONED
        self._queue.abandon()

    def disown(self) -> None:
        """Stop without a word: the queue, the connection, the spool's files and the counts are another process's."""
        self.state = State.DISOWNED
        self._queue.disown()
        self._wake.send()
