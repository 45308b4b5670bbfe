"""Log a line when the collector goes away and a line when the collector is back, with the exporter's reason."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from obs_core._export.stats import ExportStats
from obs_core._safety.containment import warn_once

_logger = logging.getLogger("obs_core.export")
_EXPORTER_LOGGERS = "opentelemetry.exporter"


class OutageLog:
    """Knows whether the collector takes what is exported; logs each change once.

    Args:
        destination: The collector's name in log lines, without credentials.
        mask: Removes secrets from the exporters' complaints.
        noun: What is exported.

    Attributes:
        is_down: The last batch was not taken.
        is_suspected: The last batch was not taken, or the exporter complains about the current batch.

    Used by the export thread; any thread may read the attributes.
    """

    def __init__(
        self, destination: str, mask: Callable[[str], str] = str, noun: str = "spans"
    ) -> None:
        self._noun = noun
        self._destination = destination
        self._mask = mask
        self.is_down: bool = False
        self.is_suspected: bool = False
        self._since = 0.0
        self._lost_before = 0
        self._reason: str | None = None
        self._has_reason = False
        self._is_concluded = False

    def begin(self) -> None:
        """Note that a batch is offered: the next explanation is the reason if the batch is not taken."""
        self._has_reason = False

    def explain(self, reason: str) -> None:
        """Keep `reason` for the next line; later reasons ("giving up") say less and are ignored."""
        self.is_suspected = True
        if not self._has_reason and not self._is_concluded:
            self._reason, self._has_reason = self._mask(reason), True

    def explain_error(self, error: Exception) -> None:
        """Take the exception being handled as the reason."""
        self.explain(f"{type(error).__name__}: {error}")
        _logger.debug(
            "the exporter of %s raised:\n%s",
            self._noun,
            self._mask(traceback.format_exc()),
        )

    def conclude(self) -> None:
        """Note that the exporter is being closed: later complaints are caused by the close."""
        self._is_concluded = True

    def observe(self, taken: bool, lost: Callable[[], int]) -> None:
        """Note how an export ended; log when that is news.

        Args:
            taken: Whether the collector took the batch.
            lost: Returns how many spans have been lost since set-up.
        """
        if not taken and not self.is_down:
            self._since = time.monotonic()
            reason = self._reason or "it gave no reason"
            _logger.warning(
                "collector %s does not take %s (%s); keeping and retrying",
                self._destination,
                self._noun,
                reason,
            )
        elif taken and self.is_down:
            down_s, lost_spans = (
                time.monotonic() - self._since,
                lost() - self._lost_before,
            )
            _logger.warning(
                "collector %s is back after %.0f s; %d %s were lost",
                self._destination,
                down_s,
                lost_spans,
                self._noun,
            )
        self.is_down = self.is_suspected = not taken
        if taken:
            self._lost_before, self._reason = lost(), None

    def report_rejected(self, rejected: int, reason: str) -> None:
        """Log once that the collector takes batches but for some spans."""
        warn_once(
            f"{self._noun} rejected",
            f"collector {self._destination} takes {self._noun}, but has rejected {rejected} of a batch "
            f"({self._mask(reason) or 'it gave no reason'}); they are lost (said once)",
        )

    def report_exit(self, stats: ExportStats) -> None:
        """Log a line for an exit that lost spans, or left spans to the spool."""
        kept = f", {stats.spooled} kept in the spool" if stats.spooled else ""
        _logger.warning(
            "exit: %d %s exported, %d dropped%s (collector %s: %s)",
            stats.exported,
            self._noun,
            stats.failed + stats.dropped_queue_full + stats.dropped_outage,
            kept,
            self._destination,
            self._reason or "no answer in time",
        )


class _QuietFilter(logging.Filter):
    """Takes the exporters' lines off the log on the export thread, and passes their text on."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.local()

    @contextmanager
    def listening(self, listener: Callable[[str], None]) -> Iterator[None]:
        before = getattr(self._thread, "listener", None)
        self._thread.listener = listener
        try:
            yield
        finally:
            self._thread.listener = before

    @property
    def is_listening(self) -> bool:
        return getattr(self._thread, "listener", None) is not None

    def filter(self, record: logging.LogRecord) -> bool:
        listener = getattr(self._thread, "listener", None)
        if listener is None:
            return True
        listener(record.getMessage())
        return False


_filter = _QuietFilter()


def quiet_exporter_logs(
    listener: Callable[[str], None],
) -> AbstractContextManager[None]:
    """Within the block, this thread's lines on OpenTelemetry's exporter loggers go to `listener` in place of the log."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.startswith(_EXPORTER_LOGGERS) and isinstance(logger, logging.Logger):
            logger.addFilter(_filter)
    return _filter.listening(listener)


def is_exporting() -> bool:
    """Whether this thread is in a block of `quiet_exporter_logs`: what is logged now is about an export."""
    return _filter.is_listening
