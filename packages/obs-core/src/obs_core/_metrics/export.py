"""The export of metrics in one process: a reader of the SDK, and a thread that collects at each interval."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource

from obs_core._export.flush_requests import FlushRequests
from obs_core._export.outage import OutageLog
from obs_core._export.sender import CLOSE_RESERVE_S, BuildExporter, Sender
from obs_core._export.signals import METRICS, Exporter
from obs_core._export.wakeup import Signal, start_thread, wait_until
from obs_core._metrics.buckets import views


class PushReader(MetricReader):
    """Hands what is collected to a sender.

    Attributes:
        taken: Whether the collector took the last collection; True if there was nothing to send.
    """

    def __init__(self, sender: Sender, exporter: Exporter) -> None:
        super().__init__(
            preferred_temporality=getattr(exporter, "_preferred_temporality", None),
            preferred_aggregation=getattr(exporter, "_preferred_aggregation", None),
        )
        self.taken = True
        self._sender = sender

    def _receive_metrics(self, metrics_data: Any, *_: Any, **__: Any) -> None:
        self.taken = self._sender.offer([metrics_data])

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Do nothing: the thread closes the exporter."""


class MetricExport:
    """Collects and exports the metrics of this process every `interval_s` seconds, at a flush and at the end.

    Attributes:
        provider: The SDK's provider.
    """

    def __init__(
        self,
        build: BuildExporter,
        outage: OutageLog,
        interval_s: float,
        resource: Resource,
    ) -> None:
        exporter = build()
        self._outage = outage
        self._interval_s = interval_s
        self._sender = Sender(build, outage, exporter, signal=METRICS)
        self._reader = PushReader(self._sender, exporter)
        self.provider: MeterProvider = MeterProvider(
            [self._reader], resource, shutdown_on_exit=False, views=views()
        )
        self._flushes = FlushRequests()
        self._is_stopping = self._is_stopped = self._is_finished = False
        self._wake = Signal()
        self._has_thread = self._start()

    def _start(self) -> bool:
        try:
            start_thread(self._run, "obs-core-metrics")
        except RuntimeError:
            return False  # the interpreter shuts down
        return True

    def _run(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        due = time.monotonic() + self._interval_s
        while not self._is_stopping:
            self._wake.wait(max(0.0, due - time.monotonic()))
            if self._flushes:
                self._flushes.serve(self._collect)
            elif time.monotonic() >= due:
                due = time.monotonic() + self._interval_s
                self._collect()
        self._collect()
        self._flushes.serve(lambda: self._reader.taken)
        self._sender.close()
        self._is_finished = True

    def _collect(self) -> bool:
        self._reader.taken = True
        try:
            self._reader.collect()
        except Exception as error:  # noqa: BLE001 - the callbacks of the program's instruments
            self._outage.explain_error(error)
            return False
        if not self._is_stopping:
            self._outage.observe(self._reader.taken, lambda: 0)
        return self._reader.taken

    def begin_flush(self) -> Callable[[float], bool]:
        """Begin to collect and export; the function returned waits so many seconds, and says whether all was taken."""
        if self._is_stopping or not self._has_thread:
            return lambda timeout_s: wait_until(lambda: self._is_finished, timeout_s)
        return self._flushes.ask(self._wake.send)

    def begin_stop(self) -> None:
        """Begin the last collection; `stop` waits for its end."""
        self._is_stopping = True
        self._wake.send()

    def stop(self, timeout_s: float) -> None:
        """Collect a last time, close the exporter, and always return within `timeout_s`. A second call does nothing."""
        if self._is_stopped:
            return
        self._is_stopped = True
        deadline = time.monotonic() + timeout_s
        self.begin_stop()
        if not wait_until(lambda: self._is_finished, timeout_s - CLOSE_RESERVE_S):
            self._outage.conclude()
            self._sender.close_elsewhere(deadline)
