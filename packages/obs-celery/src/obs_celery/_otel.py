"""The entry point by which ``opentelemetry-instrument`` finds this package."""

from __future__ import annotations

from obs_core.integration import OtelInstrumentor, otel_instrumentor

from obs_celery._instrument import instrument_celery, uninstrument_celery

CeleryInstrumentor: type[OtelInstrumentor] = otel_instrumentor(
    "CeleryInstrumentor", instrument_celery, uninstrument_celery
)
