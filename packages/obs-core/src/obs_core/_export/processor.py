"""`BatchExportProcessor`: the span processor that hands ended spans to the export.

In place of the SDK's BatchSpanProcessor (1.45), whose flush and shutdown ignore their timeouts
(https://github.com/open-telemetry/opentelemetry-python/issues/4555, #4568) and block exit for up to 30 s.
"""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from obs_core._export.options import BatchOptions, SpoolOptions
from obs_core._export.sender import BuildExporter
from obs_core._export.signal_export import SignalExport
from obs_core._export.signals import TRACES
from obs_core._export.spans_at_fork import Fork
from obs_core._safety.fork_watch import fork_mark, fork_watch
from obs_core._spans.light import LightSpan
from obs_core._spans.recorded import RecordedSpan


class BatchExportProcessor(SignalExport, SpanProcessor):
    """Hands finished spans to an exporter on a separate thread: see `SignalExport`.

    No lock is taken where a span starts or ends. For spans that are open at a fork see `obs_core._export.spans_at_fork`.
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
        self._fork = Fork()
        super().__init__(TRACES, build, destination, options, spool, mask=mask)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Count the span."""
        if not fork_mark[0]:
            fork_watch.notice()
        if type(span) is RecordedSpan:  # never sampled
            return
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
        if type(span) is RecordedSpan:
            return
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

    def after_fork_in_child(self) -> None:
        """Start afresh; the parent's open spans do not belong to this process either."""
        self._fork.enter_child()
        super().after_fork_in_child()
