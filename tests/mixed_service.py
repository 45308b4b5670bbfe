"""A service of the rehearsal: as a script it publishes a task in a request; ``celery --app mixed_service worker`` runs it.

Told by environment: ``REDIS_URL``, the broker and result backend; ``SINK_URL``, where its spans go.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path

import obs_core
import sqlalchemy
from celery import Celery
from obs_celery import instrument_celery
from obs_core import TracingConfig, setup_tracing
from obs_db import instrument_sqlalchemy
from opentelemetry import trace

config = TracingConfig(
    service_name="mixed",
    collector_url=os.environ["SINK_URL"],
    collector_protocol="http",
)
setup_tracing(config, instrument=None)
app = Celery(
    "mixed_service", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"]
)
app.conf.task_default_queue = (
    "rehearsal"  # a Redis that REDIS_URL names may hold other people's tasks
)
instrument_celery(app)
engine = sqlalchemy.create_engine("sqlite://")
instrument_sqlalchemy(engine)


def releases() -> str:
    """Which releases this process runs; they are wheels, not this repository."""
    assert "site-packages" in Path(obs_core.__file__).parts
    return " ".join(version(name) for name in ("obs-core", "obs-celery", "obs-db"))


@app.task(name="tell")  # type: ignore[untyped-decorator] # untyped in Celery
def tell() -> str:
    """Ask the database, and tell the worker's releases."""
    with engine.connect() as connection:
        return str(
            connection.execute(
                sqlalchemy.text("SELECT :releases"), {"releases": releases()}
            ).scalar_one()
        )


def main() -> int:
    """Print the releases of both sides."""
    with trace.get_tracer("mixed").start_as_current_span("request"):
        print(releases(), "->", tell.delay().get(timeout=60))
    return 0


if __name__ == "__main__":
    sys.exit(main())
