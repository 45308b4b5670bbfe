"""The classes that ``opentelemetry-instrument`` calls: both instrumentations with their defaults."""

from __future__ import annotations

from obs_core.integration import otel_instrumentor

from obs_db.redis._instrument import instrument_redis, uninstrument_redis
from obs_db.sqlalchemy._instrument import instrument_sqlalchemy, uninstrument_sqlalchemy

SQLAlchemyInstrumentor = otel_instrumentor(
    "SQLAlchemyInstrumentor",
    instrument_sqlalchemy,
    uninstrument_sqlalchemy,
    contrib="sqlalchemy",
)
RedisInstrumentor = otel_instrumentor(
    "RedisInstrumentor", instrument_redis, uninstrument_redis, contrib="redis"
)
