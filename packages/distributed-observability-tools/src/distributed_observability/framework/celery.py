"""Celery: obs-celery's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distributed_observability._optional import deprecated, optional

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["CeleryInstrumentor", "instrument_celery"]

instrument_celery: Callable[..., Any] = optional(
    "obs_celery:instrument_celery", "celery"
)


class CeleryInstrumentor:
    """Deprecated: `instrument_celery` does the same."""

    def instrument(self, app: Celery | None = None) -> None:
        """Trace the tasks of `app`, or of all apps."""
        deprecated("CeleryInstrumentor", "obs_celery.instrument_celery")
        instrument_celery(app)
