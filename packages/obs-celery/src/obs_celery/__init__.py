"""Celery tracing that loses no task's story: publish, execute, retries, kills, on OpenTelemetry."""

from obs_celery._instrument import instrument_celery, uninstrument_celery
from obs_celery._message import RELATION_HEADER
from obs_celery._otel import CeleryInstrumentor

__all__ = [
    "CeleryInstrumentor",
    "RELATION_HEADER",
    "instrument_celery",
    "uninstrument_celery",
]
