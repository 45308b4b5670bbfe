"""Export finished spans and metrics before a process ends, within a bound."""

from __future__ import annotations

import threading
from typing import Any

from opentelemetry import metrics, trace

from obs_core._safety.containment import call_contained
from obs_core._setup.manager import current_manager


def flush_within(timeout_s: float, *, is_end: bool = False) -> None:
    """Flush spans and metrics; return after `timeout_s` seconds at the latest, even if provider or collector hang.

    For the hooks of a worker that is stopping. Works with any provider; never raises.

    Args:
        timeout_s: Seconds.
        is_end: Whether the process ends without exit hooks after this: then the export is shut down, and says what is lost.
    """
    flushing = threading.Thread(
        target=_flush, args=(timeout_s, is_end), name="obs-flush", daemon=True
    )
    try:
        flushing.start()
    except RuntimeError:
        return  # the interpreter is too far gone for a thread; its own exit hooks flush
    flushing.join(timeout_s)


def _flush(timeout_s: float, is_end: bool) -> None:
    manager = current_manager()
    if manager is not None:
        export = manager.shutdown if is_end else manager.flush
        call_contained("flush", export, timeout_s)
    else:
        _force_flush(trace.get_tracer_provider(), timeout_s)
    _force_flush(metrics.get_meter_provider(), timeout_s)


def _force_flush(provider: Any, timeout_s: float) -> None:
    force_flush = getattr(provider, "force_flush", None)
    if force_flush is not None:
        call_contained("flush", force_flush, int(timeout_s * 1000))
