"""The exporter in use: built at the first need, asked to take batches, closed at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from obs_core._export.backends import Shown
from obs_core._export.exporters import is_direct
from obs_core._export.outage import OutageLog, quiet_exporter_logs
from obs_core._export.queue import QueuedSpan
from obs_core._export.retry_pause import PauseCut, RetryPause, give_pause
from obs_core._export.signals import LOGS, METRICS, TRACES, Exporter, Signal, is_success
from obs_core._export.utf8 import export_encodable
from obs_core._export.verdict import take_verdict
from obs_core._export.wakeup import start_thread, wait_until
from obs_core._safety.containment import log_failure

BuildExporter = Callable[[], Exporter]
#: The part of the exit's time that is kept for closing the exporter, in seconds.
CLOSE_RESERVE_S = 0.2


class Sender:
    """Offers batches to an exporter; the exporter's errors and log lines go to the outage log alone.

    Args:
        build: Makes the exporter at the first export, if not given, as in a forked child.
        outage: Learns why a batch was not taken.
        exporter: Takes the batches.
        shown: Returns a span as the backend reads it.
        signal: What is exported.

    Attributes:
        is_unavailable: Whether the last batch was not taken since the collector takes nothing for now.
        is_too_large: Whether the last batch was not sent, since it must be sent in parts.
        rejected: How many spans of the last batch the collector has refused, though it has taken the batch.
    """

    def __init__(
        self,
        build: BuildExporter,
        outage: OutageLog,
        exporter: Exporter | None = None,
        shown: Shown | None = None,
        signal: Signal = TRACES,
    ) -> None:
        self._shown = shown
        self._signal = signal
        self._build = build
        self._outage = outage
        self._pause = RetryPause()
        self._exporter = exporter and give_pause(exporter, self._pause)
        self._is_closed = False
        self.rejected = 0
        self.is_unavailable = self.is_too_large = False

    def offer(self, batch: list[Any]) -> bool:
        """Export `batch`; return whether the batch was taken."""
        self._outage.begin()
        taken, verdict = self._try(batch), take_verdict()
        self.is_unavailable = not taken and verdict.is_unavailable
        self.is_too_large, self.rejected = verdict.is_too_large, 0
        if taken and verdict.rejected:
            self.rejected = min(verdict.rejected, len(batch))
            self._outage.report_rejected(verdict.rejected, verdict.reason)
        return taken

    def _try(self, batch: list[Any]) -> bool:
        with quiet_exporter_logs(self._outage.explain):
            try:
                if self._exporter is None:
                    self._exporter = give_pause(self._build(), self._pause)
                return self._export(self._exporter, self._as_read(batch))
            except Exception as error:  # noqa: BLE001 - any exporter's any error
                self._outage.explain_error(error)
                return False

    def _as_read(self, batch: list[QueuedSpan]) -> list[QueuedSpan]:
        """Return `batch` as the backend reads it; what the spool has encoded is so already."""
        shown = self._shown
        if shown is None:
            return batch
        return [
            shown(span) if isinstance(span, ReadableSpan) else span for span in batch
        ]

    def _export(self, exporter: Exporter, batch: list[QueuedSpan]) -> bool:
        if is_direct(type(exporter)):
            return self._attempt(exporter, batch)
        if self._signal is METRICS:
            return all(self._attempt(exporter, data) for data in batch)
        if self._signal is LOGS:
            from obs_core._export.encode.decode_log import decoded_log

            return self._attempt(exporter, [decoded_log(item) for item in batch])
        attempt = partial(self._attempt, exporter)
        return export_encodable(attempt, _spans(batch))

    def _attempt(self, exporter: Exporter, batch: Any) -> bool:
        """Export `batch`, and anew where the exporter's pause was cut short."""
        while True:
            self._pause.begin()
            with suppress(PauseCut):
                return is_success(exporter.export(batch))

    def hurry(self) -> None:
        """Let the batch that is offered now wait no longer for its next attempt."""
        self._pause.cut()

    def close(self) -> None:
        """Shut the exporter down, if built."""
        exporter, self._exporter = self._exporter, None
        if exporter is None:
            return
        with quiet_exporter_logs(self._outage.explain):
            try:
                exporter.shutdown()
            except Exception:  # noqa: BLE001 - any exporter's any error
                log_failure(f"{self._signal.item} exporter's shutdown")
        self._is_closed = True

    def close_elsewhere(self, deadline: float) -> None:
        """Close on a thread that may be left behind; the close also ends an export that waits to retry."""
        if self._exporter is None:
            return
        # no thread can start while the interpreter (3.12 and later) shuts down: the sockets go with the process
        with suppress(RuntimeError):
            start_thread(self.close, "obs-core-close")
            wait_until(lambda: self._is_closed, deadline - time.monotonic())


def _spans(batch: list[QueuedSpan]) -> list[ReadableSpan]:
    """Return `batch` with spans of the spool decoded."""
    plain = [span for span in batch if isinstance(span, ReadableSpan)]
    if len(plain) == len(batch):
        return plain
    from obs_core._export.encode.decode import decoded

    return [decoded(span) for span in batch]
