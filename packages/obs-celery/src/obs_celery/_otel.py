"""The entry point by which ``opentelemetry-instrument`` finds this package."""

from __future__ import annotations

from typing import Any

from obs_celery._instrument import instrument_celery, uninstrument_celery


class CeleryInstrumentor:
    """Instruments every app with the default options."""

    def instrument(self, **_: Any) -> None:
        """Call `instrument_celery`; the options of contrib's loader have no meaning here."""
        instrument_celery()

    def uninstrument(self, **_: Any) -> None:
        """Call `uninstrument_celery`."""
        uninstrument_celery()
