"""The owner of a set-up: settings, span processors, shutdown."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

from obs_core._config.in_force import put_in_force
from obs_core._export.exporters import encoder_in_use
from obs_core._export.grpc_fork_hazard import fork_hazard
from obs_core._safety.containment import call_contained, warn_once
from obs_core._setup.signals import Signals

if TYPE_CHECKING:
    from obs_core._config.settings import Settings
    from obs_core._export.processor import BatchExportProcessor
    from obs_core._export.stats import ExportStats
    from obs_core._integrations.registry import InstrumentationHandle
    from obs_core._provider.processors import Pipeline
    from obs_core._provider.provider import SwitchableProvider
    from obs_core._setup.status import Status


class TracingManager:
    """The manager that `setup_tracing` returns: flush, shut down, inspect.

    Thread-safe. After a fork, the child has the same manager with counts and an export queue of the child's own.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline | None = None,
        switchable: SwitchableProvider | None = None,
        exporting: BatchExportProcessor | None = None,
        problems: Sequence[str] = (),
        signals: Signals | None = None,
        state: str | None = None,
    ) -> None:
        self.settings = settings
        self._pipeline = pipeline
        self._switchable = switchable
        self._exporting = exporting
        self._signals = signals or Signals()
        self._problems = [*settings.problems, *problems]
        self._fixed_state = "disabled" if settings.disabled else state
        self._stopped = False
        if exporting:
            _watch_forks(self)
        atexit.register(self.shutdown)
        if "multiprocessing.forkserver" in sys.modules:
            # a child of the fork server, which imports the main module anew and ends by os._exit
            call_contained("flushing at the end", self.flush_in_children)

    @property
    def status(self) -> Status:
        """Whether tracing works as configured, and the problems if not."""
        from obs_core._setup.status import Status

        return Status(self._state(), tuple(self._problems))

    def _state(self) -> str:
        if self._stopped:
            return "stopped"
        if self._fixed_state:
            return self._fixed_state
        return "degraded" if self._problems else "active"

    def describe(self) -> dict[str, tuple[object, str]]:
        """Return setting → (effective value, source), secrets masked."""
        from obs_core._setup.status import describe

        shown = describe(self.settings, self._switchable)
        if self._exporting:
            shown["encoder"] = encoder_in_use(
                self.settings, self._exporting.exporter_type
            )
        return shown

    def stats(self) -> ExportStats:
        """Return counts of this process's spans; correct without a MeterProvider."""
        from obs_core._export.stats import ExportStats

        if self._exporting is None:
            return ExportStats()
        return self._exporting.stats()

    def log_stats(self) -> ExportStats:
        """Return counts of this process's log records (``logs=True``), by the words of `ExportStats`."""
        from obs_core._export.stats import ExportStats

        logs = self._signals.logs
        return logs.export.stats() if logs else ExportStats()

    @property
    def log_handler(self) -> logging.Handler:
        """The handler that exports log records (``logs=True``), for its level and filters; else a handler that does nothing.

        It has the records of all loggers of `logging` already: give it to other libraries alone, such as loguru.
        """
        logs = self._signals.logs
        return logs.handler if logs else logging.NullHandler()

    def flush(self, timeout_s: float | None = None) -> bool:
        """Export all finished spans and log records; return False, at the latest after `timeout_s`, if not all were taken.

        Flushes the span processors given to `setup_tracing` too, within the same time.

        Args:
            timeout_s: Seconds; default `exit_timeout_s`.
        """
        if self._pipeline is None:
            return True
        if timeout_s is None:
            timeout_s = self.settings.exit_timeout_s
        deadline = time.monotonic() + timeout_s
        begun = self._signals.begin_flush()
        answers = [self._pipeline.force_flush(int(timeout_s * 1000))]
        answers += [wait(max(0.0, deadline - time.monotonic())) for wait in begun]
        return all(answers)

    def shutdown(self, timeout_s: float | None = None) -> None:
        """Export all finished spans and log records and stop, within `timeout_s` (seconds; default `exit_timeout_s`).

        Later ones are dropped. The span processors given to `setup_tracing` are shut down within the same time; a hanging
        processor is left behind. Runs at interpreter exit. Never raises; a second call does nothing.
        """
        if self._stopped:
            return
        self._stopped = True
        atexit.unregister(self.shutdown)
        if timeout_s is None:
            timeout_s = self.settings.exit_timeout_s
        deadline = time.monotonic() + timeout_s
        self._signals.begin_shutdown()
        if self._pipeline:
            self._pipeline.shutdown(timeout_s)
        self._signals.shutdown(deadline)
        if self._switchable:
            self._switchable.switch_off()

    def instrument_all(self) -> list[InstrumentationHandle]:
        """Instrument every installed library that an installed obs package covers; return the handles."""
        from obs_core._integrations.discovery import instrument_all

        handles, problems = instrument_all()
        self._problems += problems
        return handles

    def flush_on_sigterm(self) -> None:
        """On SIGTERM flush within `exit_timeout_s`, then do what the previous handler does."""
        from obs_core._setup.exit_hooks import flush_on_sigterm

        flush_on_sigterm(self.flush)

    def flush_in_children(self) -> None:
        """Make children of `multiprocessing` (fork) and `ProcessPoolExecutor` flush before their ``os._exit``."""
        from obs_core._setup.exit_hooks import flush_in_children

        flush_in_children(self.flush, self)

    def __repr__(self) -> str:
        return f"<TracingManager {self.settings.service_name!r} {self.status.state}>"

    def _before_fork(self) -> None:
        if self._stopped or self._exporting is None:
            return
        hazard = fork_hazard(self.settings)
        if hazard and hazard not in self._problems:
            self._problems.append(hazard)
            warn_once(hazard, hazard)


def _watch_forks(manager: TracingManager) -> None:
    if not hasattr(os, "register_at_fork"):
        return
    alive = weakref.ref(manager)

    def before() -> None:
        if found := alive():
            found._before_fork()

    os.register_at_fork(before=before)


_current: TracingManager | None = None


def current_manager() -> TracingManager | None:
    """Return the manager of this process, or None before the first set-up."""
    return _current


def set_current_manager(manager: TracingManager | None) -> None:
    """Make `manager` the current manager, and put its settings in force."""
    global _current
    _current = manager
    put_in_force(manager.settings if manager else None)
