"""SQLAlchemy and Redis tracing on OpenTelemetry: a span a statement or command, no values, no noise."""

from obs_db.redis._instrument import instrument_redis, uninstrument_redis
from obs_db.sqlalchemy._instrument import instrument_sqlalchemy, uninstrument_sqlalchemy

__all__ = [
    "instrument_redis",
    "instrument_sqlalchemy",
    "uninstrument_redis",
    "uninstrument_sqlalchemy",
]
