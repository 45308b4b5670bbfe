"""The signals beside spans, flushed and stopped together. Light: loads neither the SDK nor an exporter."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obs_core._export.signal_export import SignalExport
    from obs_core._metrics.export import MetricExport
    from obs_core._metrics.provider import SwitchableMeterProvider


@dataclass(frozen=True, slots=True)
class Logs:
    """The export of log records.

    Attributes:
        export: Queue and thread.
        handler: Fills the queue.
        detach: Takes the handler off the loggers.
    """

    export: SignalExport
    handler: logging.Handler
    detach: Callable[[], None]


@dataclass
class Signals:
    """The signals beside spans; empty if none is asked for.

    Attributes:
        logs: The export of log records, or None.
        metrics: The provider of metrics, or None.
        problems: What could not be built, a line each.
    """

    logs: Logs | None = None
    metrics: SwitchableMeterProvider | None = None
    problems: list[str] = field(default_factory=list)

    def begin_flush(self) -> list[Callable[[float], bool]]:
        """Begin to export; return functions that wait, at most so many seconds, and say whether all was taken."""
        exports = (self.logs and self.logs.export, self._metric_export())
        return [export.begin_flush() for export in exports if export]

    def begin_shutdown(self) -> None:
        """Take nothing more, and begin to export what is there."""
        if self.logs:
            self.logs.detach()
            self.logs.export.begin_shutdown()
        if export := self._metric_export():
            export.begin_stop()

    def shutdown(self, deadline: float) -> None:
        """Wait for the end, until `deadline` (`time.monotonic`)."""
        if self.logs:
            self.logs.export.shutdown(max(0.0, deadline - time.monotonic()))
        if self.metrics and (export := self._metric_export()):
            export.stop(max(0.0, deadline - time.monotonic()))
            self.metrics.switch_off()

    def _metric_export(self) -> MetricExport | None:
        return self.metrics.export() if self.metrics else None
