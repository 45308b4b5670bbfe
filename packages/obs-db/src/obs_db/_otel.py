"""The classes that ``opentelemetry-instrument`` calls: both instrumentations with their defaults."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib.metadata import entry_points

from obs_core.exceptions import MissingDependencyError
from obs_core.integration import version_conflicts, warn_once

from obs_db.redis._instrument import instrument_redis, uninstrument_redis
from obs_db.sqlalchemy._instrument import instrument_sqlalchemy, uninstrument_sqlalchemy

_GROUP = "opentelemetry_instrumentor"
_DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"


class SQLAlchemyInstrumentor:
    """`instrument_sqlalchemy` for every engine.

    Does nothing, and warns once, where contrib's instrumentation would run as well.
    """

    def instrument(self, **_: object) -> None:
        """Instrument; options are ignored: those of ``opentelemetry-instrument`` concern its own checks."""
        if not _contrib_comes_too("sqlalchemy"):
            # either library is enough, and an exception here would stop the launcher
            with suppress(MissingDependencyError):
                instrument_sqlalchemy()

    def uninstrument(self, **_: object) -> None:
        """Uninstrument."""
        uninstrument_sqlalchemy()


class RedisInstrumentor:
    """`instrument_redis` for every client.

    Does nothing, and warns once, where contrib's instrumentation would run as well.
    """

    def instrument(self, **_: object) -> None:
        """Instrument; options are ignored: those of ``opentelemetry-instrument`` concern its own checks."""
        if not _contrib_comes_too("redis"):
            with suppress(MissingDependencyError):
                instrument_redis()

    def uninstrument(self, **_: object) -> None:
        """Uninstrument."""
        uninstrument_redis()


def _contrib_comes_too(name: str) -> bool:
    """Whether ``opentelemetry-instrument`` runs contrib's instrumentation `name`, before us or after."""
    contrib = f"opentelemetry-instrumentation-{name}"
    installed = any(
        found.dist and found.dist.name == contrib for found in entry_points(group=_GROUP, name=name)
    )
    disabled = {word.strip() for word in os.environ.get(_DISABLED, "").split(",")}
    if not installed or disabled & {name, "*"} or version_conflicts(contrib):
        return False
    warn_once(
        f"auto:{name}",
        f"{contrib} is installed as well as obs-db: not instrumenting {name} twice. Uninstall it, or set {_DISABLED}={name}.",
    )
    return True
