"""Instruments that follow the process: each call goes to the SDK's instrument of this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import metrics

#: Makes the SDK's instrument, on a meter.
Make = Callable[[metrics.Meter], Any]


class Instrument:
    """An instrument of one meter.

    Args:
        meter: Returns the SDK's meter of this process, the same one until the process forks.
        make: Makes the SDK's instrument.
    """

    def __init__(self, meter: Callable[[], metrics.Meter], make: Make) -> None:
        self._meter, self._make = meter, make
        self._made_on: metrics.Meter | None = None
        self._real: Any = None

    def real(self) -> Any:
        """Return the SDK's instrument of this process."""
        meter = self._meter()
        if self._made_on is not meter:
            self._real = self._make(meter)
            self._made_on = meter
        return self._real


class Counter(Instrument, metrics.Counter):
    """A counter."""

    def add(self, *args: Any, **options: Any) -> None:
        """Add to the sum."""
        self.real().add(*args, **options)


class UpDownCounter(Instrument, metrics.UpDownCounter):
    """A counter that may fall."""

    def add(self, *args: Any, **options: Any) -> None:
        """Add to the sum."""
        self.real().add(*args, **options)


class Histogram(Instrument, metrics.Histogram):
    """A histogram."""

    def record(self, *args: Any, **options: Any) -> None:
        """Record a measurement."""
        self.real().record(*args, **options)


class Gauge(Instrument, metrics._Gauge):
    """A gauge."""

    def set(self, *args: Any, **options: Any) -> None:
        """Set the value."""
        self.real().set(*args, **options)


class Observable(
    Instrument,
    metrics.ObservableCounter,
    metrics.ObservableUpDownCounter,
    metrics.ObservableGauge,
):
    """An instrument that is asked, of any kind."""


KINDS: Mapping[str, type[Instrument]] = {
    "create_counter": Counter,
    "create_up_down_counter": UpDownCounter,
    "create_histogram": Histogram,
    "create_gauge": Gauge,
    "create_observable_counter": Observable,
    "create_observable_up_down_counter": Observable,
    "create_observable_gauge": Observable,
}
