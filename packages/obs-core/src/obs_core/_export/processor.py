"""The span processor that exports: without blocking traced code, and separate in every forked process.

In place of the SDK's BatchSpanProcessor (1.45), whose flush and shutdown ignore their timeouts
(https://github.com/open-telemetry/opentelemetry-python/issues/4555, #4568) and block exit for up to 30 s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from obs_core._export.backends import for_backend
from obs_core._export.exporters import is_direct
from obs_core._export.fork import Fork
from obs_core._export.options import BatchOptions, SpoolOptions
from obs_core._export.outage import OutageLog
from obs_core._export.sender import BuildExporter, Sender
from obs_core._export.stats import ExportStats
from obs_core._export.worker import ExportWorker
from obs_core._safety.fork_watch import fork_mark, fork_watch
from obs_core._spans.light import LightSpan

if TYPE_CHECKING:
    from obs_core._export.spool.spool import Spool


class BatchExportProcessor(SpanProcessor):
    """Hands finished spans to an exporter on a separate thread: see `ExportWorker`.

    Thread-safe, and safe in signal handlers and finalizers: no lock is taken where a span starts or ends. For forks see
    `obs_core._export.fork`.
    """

    def __init__(
        self,
        build: BuildExporter,
        destination: str,
        options: BatchOptions | None = None,
        spool: SpoolOptions | None = None,
        *,
        mask: Callable[[str], str] = str,
    ) -> None:
        self._build = build
        self._destination = destination
        self._mask = mask
        self._options = options or BatchOptions()
        self._spool = spool
        self._fork = Fork()
        exporter = build()
        self.exporter_type: type[SpanExporter] = type(exporter)
        self._worker = self._new_worker(exporter)
        self._worker.take_over()
        fork_watch.call_in_child(self.after_fork_in_child)

    def _new_worker(self, exporter: SpanExporter | None = None) -> ExportWorker:
        outage = OutageLog(self._destination, self._mask)
        shown = for_backend(self._options.backend)
        sender = Sender(self._build, outage, exporter, shown)
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

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Count the span."""
        if not fork_mark[0]:
            fork_watch.notice()
        if type(span) is LightSpan:  # its properties only read these
            ids, start_time = span._context, span._start_time
        else:
            ids, start_time = span.get_span_context(), span.start_time or 0
        if not ids[3] & 1:
            return
        self._worker.counts.started.add_one()
        if start_time < self._fork.at_ns:
            self._fork.remember_backdated(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue the span for export, or drop and count the span; never waits, never raises."""
        if not fork_mark[0]:
            fork_watch.notice()
        if type(span) is LightSpan:
            ids, start_time = span._context, span._start_time
        else:
            ids, start_time = span.context, span.start_time or 0
        if not ids[3] & 1:
            return
        if start_time >= self._fork.at_ns or not self._fork.is_the_parents(span):
            self._worker.put(span)

    def put_kept(self, span: ReadableSpan) -> None:
        """Queue a span of a kept request: see `obs_core._export.keeper`."""
        counts = self._worker.counts
        counts.started.add_one()
        counts.kept.add_one()
        self._worker.put(span)

    def drop_unsampled(self) -> None:
        """Count a span of an unsampled request that a bound has cost."""
        self._worker.counts.dropped_unsampled.add_one()

    def has_room(self) -> bool:
        """Whether half of the queue is free: sampled spans come before kept ones."""
        return self.queue_size * 2 <= self.queue_capacity

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        """Export all queued spans; False if not all were taken within `timeout_millis`.

        Args:
            timeout_millis: Milliseconds; default `exit_timeout_s`.
        """
        fork_watch.notice()
        return self._worker.flush(
            self._options.exit_timeout_s
            if timeout_millis is None
            else timeout_millis / 1000
        )

    def shutdown(self, timeout_s: float | None = None) -> None:
        """Export the queued spans, close the exporter, and always return within `timeout_s` (default `exit_timeout_s`)."""
        fork_watch.notice()
        self._worker.stop(
            self._options.exit_timeout_s if timeout_s is None else timeout_s
        )

    def after_fork_in_child(self) -> None:
        """Start afresh: nothing of the parent's queue, counts, connection or open spans belongs to this process."""
        inherited, self._worker = self._worker, self._new_worker()
        self._fork.enter_child(inherited, self._worker)

    def stats(self) -> ExportStats:
        """Return this process's current counts."""
        fork_watch.notice()
        return self._worker.counts.snapshot()

    def processed(self) -> dict[str, int]:
        """Return this process's counts for the SDK's metrics: see `Counts.processed`."""
        return self._worker.counts.processed()

    @property
    def queue_size(self) -> int:
        """How many spans are queued."""
        return self._worker.queued

    @property
    def queue_capacity(self) -> int:
        """How many spans may be queued."""
        return self._options.max_queue_size
