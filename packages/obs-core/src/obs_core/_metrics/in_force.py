"""Our MeterProvider as the global one."""

from __future__ import annotations

from opentelemetry import metrics

from obs_core._metrics.provider import SwitchableMeterProvider

_own: SwitchableMeterProvider | None = None


def own_provider() -> SwitchableMeterProvider | None:
    """Return our MeterProvider, made the global one if there is none; None if there is another."""
    global _own
    present = metrics.get_meter_provider()
    if _own is None and type(present).__module__.startswith("opentelemetry.metrics"):
        _own = SwitchableMeterProvider()
        metrics.set_meter_provider(_own)
        present = metrics.get_meter_provider()
    return _own if present is _own else None
