"""The thread that exports: a bounded queue, deadlines that hold, and each span counted once."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter

from obs_core._export.options import BatchOptions
from obs_core._export.outage import OutageLog, quiet_exporter_logs
from obs_core._export.queue import SpanQueue
from obs_core._export.stats import Counts
from obs_core._export.utf8 import export_encodable
from obs_core._export.wakeup import Signal
from obs_core._safety.containment import log_failure

if TYPE_CHECKING:
    from obs_core._export.spool.replay import Replay
    from obs_core._export.spool.spool import Spool

_logger = logging.getLogger("obs_core.export")
BuildExporter = Callable[[], SpanExporter]

#: How often one batch is offered before it is given up, so that one the collector will never take cannot block the rest.
MAX_ATTEMPTS = 3
#: The part of the exit's time that is kept for closing the exporter, in seconds.
_CLOSE_RESERVE_S = 0.2


class _Flush:
    __slots__ = ("done", "succeeded")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.succeeded = False


class ExportWorker:
    """One process's queue and export thread, which starts with the first span, or with what there is to replay.

    `put` never waits: a span that finds the queue full is dropped and counted, or left to the spool. A batch that the collector
    does not take stays at the head of the queue and is offered again, up to `MAX_ATTEMPTS` times. `threading` primitives
    alone, so gevent and eventlet can patch it.

    Attributes:
        exporter: Where batches go; None is replaced by a newly built one at the first export.
        is_stopping: Nothing is queued any more.
    """

    def __init__(self, build: BuildExporter, outage: OutageLog, options: BatchOptions) -> None:
        self.exporter: SpanExporter | None = None
        self.counts = Counts()
        self.is_stopping = False
        self._build = build
        self._outage = outage
        self._options = options
        spool = options.open_spool()
        self._spool = spool
        self._queue = SpanQueue(options.max_queue_size, self.counts, spool)
        self._replay = self._build_replay(spool) if spool else None
        self._flushes: deque[_Flush] = deque()
        self._wake = Signal()
        self._attempts = 0
        self._abandoned = False
        self._disowned = False
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()
        self._finished = threading.Event()

    def _build_replay(self, spool: Spool) -> Replay:
        from obs_core._export.spool.replay import Replay

        return Replay(
            spool,
            self.counts,
            self._options,
            self._offer_again,
            lambda: bool(self._flushes) or self._is_over(),
        )

    def take_over(self) -> None:
        """Start the thread already if processes that are gone may have left spans."""
        if self._spool is not None and self._spool.has_files():
            self._start()

    def put(self, span: ReadableSpan) -> None:
        """Queue `span`, or drop and count it."""
        if not self._queue.put(
            span, is_open=not self.is_stopping, is_outage=self._outage.is_suspected
        ):
            return
        if self._thread is None:
            self._start()
        if len(self._queue) >= self._options.max_export_batch_size and not self._outage.is_down:
            self._wake.send()
        if self._abandoned:
            self._abandon()

    def _start(self) -> None:
        if not self._start_lock.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="obs-core-export", daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError:
            pass  # no thread can start while the interpreter shuts down: `stop` counts what is left
        finally:
            self._start_lock.release()

    def _run(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        while not self._is_over():
            is_due = self._wake.wait(self._options.schedule_delay_s)
            if self._is_over():
                break
            self._serve_flushes() if self._flushes else self._export_and_replay(
                full_batches_only=is_due
            )
        if self._disowned:
            # only a greenlet gets here, since it survives a fork; it may not end, as `threading` has forgotten it there
            threading.Event().wait()
        self._export_pending()
        self._serve_flushes()
        self._close()
        self._queue.close()
        self._finished.set()

    def _is_over(self) -> bool:
        return self.is_stopping or self._disowned

    def _serve_flushes(self) -> None:
        while self._flushes:
            flush = self._flushes.popleft()
            flush.succeeded = self._export_pending()
            flush.done.set()

    def _export_and_replay(self, *, full_batches_only: bool) -> None:
        replay, before = self._replay, self.counts.exported
        is_replay_due = replay is not None and replay.prepare(is_outage=self._outage.is_down)
        self._export_pending(full_batches_only=full_batches_only)
        if replay is not None and is_replay_due and not len(self._queue):
            replay.run(is_proven=self.counts.exported > before)

    def _export_pending(self, *, full_batches_only: bool = False) -> bool:
        """Export batch by batch until the queue is empty; False as soon as one is not taken."""
        least = self._options.max_export_batch_size if full_batches_only else 1
        while len(self._queue) >= least and not self._abandoned:
            if not self._export_batch():
                return False
        return not self._queue

    def _export_batch(self) -> bool:
        size = min(len(self._queue), self._options.max_export_batch_size)
        taken = self._offer(self._queue.head(size))
        self._attempts = 0 if taken else self._attempts + 1
        if taken or self._attempts >= MAX_ATTEMPTS:
            self._attempts = 0
            self._queue.take_out(size, exported=taken)
        if not self.is_stopping:
            self._outage.observe(taken, lambda: self.counts.lost)
        return taken

    def _offer_again(self, batch: list[ReadableSpan]) -> bool:
        taken = self._offer(batch)
        if taken:
            self._outage.observe(True, lambda: self.counts.lost)
        return taken

    def _offer(self, batch: list[ReadableSpan]) -> bool:
        self._outage.begin()
        with quiet_exporter_logs(self._outage.explain):
            try:
                if self.exporter is None:
                    self.exporter = self._build()
                return export_encodable(self.exporter, batch)
            except Exception as error:
                self._outage.explain(f"{type(error).__name__}: {error}")
                _logger.debug("the span exporter raised", exc_info=True)
                return False

    def flush(self, timeout_s: float) -> bool:
        """Export everything queued so far; False when it was not all taken within `timeout_s`."""
        if self._thread is None:
            return not self._queue
        if self.is_stopping:
            return self._finished.wait(timeout_s) and not (
                self.counts.abandoned or self.counts.spooled.value
            )
        flush = _Flush()
        self._flushes.append(flush)
        self._wake.send()
        return flush.done.wait(timeout_s) and flush.succeeded

    def stop(self, timeout_s: float) -> None:
        """Export what is queued, close the exporter, and return within `timeout_s` in any case. A second call does nothing."""
        if self.is_stopping:
            return
        deadline = time.monotonic() + timeout_s
        self.is_stopping = True
        self._wake.send()
        if self._thread is None:
            self._close_elsewhere(deadline)
        elif not self._finished.wait(max(0.0, timeout_s - _CLOSE_RESERVE_S)):
            self._abandon()
            self._outage.conclude()
            self._close_elsewhere(deadline)
        self._abandon()
        self._queue.close()
        stats = self.counts.snapshot()
        if self.counts.lost or stats.spooled:
            self._outage.report_exit(stats)

    def _abandon(self) -> None:
        self._abandoned = True
        self._queue.abandon()

    def _close_elsewhere(self, deadline: float) -> None:
        """Close the exporter from a thread that may be left behind; it also ends an export that is waiting to try again."""
        if self.exporter is None:
            return
        closing = threading.Thread(target=self._close, name="obs-core-close", daemon=True)
        # no thread can start while the interpreter (3.12 and later) shuts down: the sockets go with the process
        with suppress(RuntimeError):
            closing.start()
            closing.join(max(0.0, deadline - time.monotonic()))

    def _close(self) -> None:
        exporter, self.exporter = self.exporter, None
        if exporter is None:
            return
        with quiet_exporter_logs(self._outage.explain):
            try:
                exporter.shutdown()
            except Exception:  # noqa: BLE001 - any exporter's any error
                log_failure("span exporter's shutdown")

    def disown(self) -> None:
        """Stop without a word: the queue, the connection, the spool's files and the counts are another process's."""
        self._disowned = True
        self._queue.disown()
        self._wake.send()
