"""Whether OpenTelemetry's own instrumentation of the same library is active."""

from __future__ import annotations

import sys

from obs_core._safety.containment import warn_once


def contrib_is_active(instrumentor: str) -> bool:
    """Whether contrib's `instrumentor` (``"opentelemetry.instrumentation.celery:CeleryInstrumentor"``) is switched on.

    Imports nothing: an instrumentation that has not been imported is not active.
    """
    module_name, _, class_name = instrumentor.partition(":")
    cls = getattr(sys.modules.get(module_name), class_name, None)
    return bool(cls is not None and getattr(cls(), "is_instrumented_by_opentelemetry", False))


def warn_if_contrib_is_active(instrumentor: str, *, package: str) -> bool:
    """Whether contrib instruments the same library already; if so, warn once and say how to stop the doubling."""
    active = contrib_is_active(instrumentor)
    if active:
        name = instrumentor.partition(":")[2]
        warn_once(
            f"contrib:{instrumentor}",
            f"{name} is active as well as {package}: not instrumenting twice. Remove one of them, "
            f"for instance by {name}().uninstrument() before calling {package}.",
        )
    return active
