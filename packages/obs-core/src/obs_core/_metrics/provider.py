"""The MeterProvider of a set-up, replaceable behind the instruments, and made anew in each forked process.

OpenTelemetry lets the global provider be set once, and instruments keep their provider. A forked child of the SDK's goes on
with the sums of the parent, under locks that a thread of the parent may hold; here it begins at zero, with an SDK of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from opentelemetry import metrics

from obs_core._metrics.buckets import advice
from obs_core._metrics.export import MetricExport
from obs_core._metrics.instruments import KINDS, Instrument, Observable
from obs_core._safety.containment import call_contained
from obs_core._safety.fork_watch import fork_watch

Build = Callable[[], MetricExport]


class SwitchableMeterProvider(metrics.MeterProvider):
    """A MeterProvider whose instruments record where the set-up in force exports. Thread- and fork-safe."""

    def __init__(self) -> None:
        self._build: Build | None = None
        self._export: MetricExport | None = None
        self._inherited: list[MetricExport] = []
        self._meters: list[Meter] = []
        self._lock = threading.RLock()
        self._nothing = metrics.NoOpMeterProvider()
        fork_watch.call_in_child(self._enter_child)

    def switch(self, build: Build) -> None:
        """Record on the export that `build` makes, here and in each forked child."""
        self._build = build
        self._export = build()
        self._observe()

    def switch_off(self) -> None:
        """Record nothing from now on."""
        self._build = self._export = None

    def _enter_child(self) -> None:
        # kept alive: closing what the parent still uses may speak on its connection
        if self._export is not None:
            self._inherited.append(self._export)
        self._export, self._lock = None, threading.RLock()

    def export(self) -> MetricExport | None:
        """Return the export of this process; made at the first need in a forked child, None if switched off."""
        fork_watch.notice()
        if self._export is None and self._build is not None:
            with self._lock:
                if self._export is None:
                    self._export = call_contained("metrics", self._build)
                    self._observe()
        return self._export

    def _observe(self) -> None:
        """Let the instruments that are asked be known to the SDK of this process."""
        for meter in self._meters:
            for instrument in meter.observables:
                call_contained("an observable instrument", instrument.real)

    @property
    def real(self) -> metrics.MeterProvider:
        """The SDK's provider of this process; one that does nothing if switched off."""
        export = self._export or self.export()
        return self._nothing if export is None else export.provider

    def get_meter(self, name: str, *args: Any, **options: Any) -> metrics.Meter:
        """Return a meter for the library `name`."""
        meter = Meter(self, name, args, options)
        self._meters.append(meter)
        return meter

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Collect and export now; False if not taken within `timeout_millis`."""
        export = self.export()
        return export is None or export.begin_flush()(timeout_millis / 1000)


class Meter(metrics.Meter):
    """Makes instruments that follow the process; see `obs_core._metrics.instruments`."""

    def __init__(
        self,
        provider: SwitchableMeterProvider,
        name: str,
        args: tuple[Any, ...],
        options: dict[str, Any],
    ) -> None:
        super().__init__(name, *args[:2])
        self._provider, self._given = provider, (name, *args)
        self._options = options
        self._made_by: metrics.MeterProvider | None = None
        self._real: metrics.Meter = metrics.NoOpMeter(name)
        self.observables: list[Instrument] = []

    def real(self) -> metrics.Meter:
        """Return the SDK's meter of this process."""
        fork_watch.notice()
        provider = self._provider.real
        if self._made_by is not provider:
            self._real = provider.get_meter(*self._given, **self._options)
            self._made_by = provider
        return self._real

    def _make(self, method: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        def make(meter: metrics.Meter) -> Any:
            return getattr(meter, method)(*args, **options)

        instrument = KINDS[method](self.real, make)
        if isinstance(instrument, Observable):
            self.observables.append(instrument)
            instrument.real()
        return instrument

    def create_counter(self, *args: Any, **options: Any) -> Any:
        """Make a counter."""
        return self._make("create_counter", args, options)

    def create_up_down_counter(self, *args: Any, **options: Any) -> Any:
        """Make a counter that may fall."""
        return self._make("create_up_down_counter", args, options)

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Any = None,
    ) -> Any:
        """Make a histogram."""
        options = advice(name, explicit_bucket_boundaries_advisory)
        return self._make("create_histogram", (name, unit, description), options)

    def create_gauge(self, *args: Any, **options: Any) -> Any:
        """Make a gauge."""
        return self._make("create_gauge", args, options)

    def create_observable_counter(self, *args: Any, **options: Any) -> Any:
        """Make a counter that is asked."""
        return self._make("create_observable_counter", args, options)

    def create_observable_up_down_counter(self, *args: Any, **options: Any) -> Any:
        """Make a counter that is asked, and may fall."""
        return self._make("create_observable_up_down_counter", args, options)

    def create_observable_gauge(self, *args: Any, **options: Any) -> Any:
        """Make a gauge that is asked."""
        return self._make("create_observable_gauge", args, options)
