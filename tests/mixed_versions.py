"""Run by ``nox -s rehearsal`` in an environment of built wheels, old and new together: one trace through Celery and SQL."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import obs_core
import sqlalchemy
from celery import Celery
from obs_celery import instrument_celery
from obs_core.testing import SpanRecorder
from obs_db import instrument_sqlalchemy


def test_mixed_releases_make_one_trace(spans: SpanRecorder) -> None:
    """What is installed comes from wheels, not from this repository, and works together."""
    assert "site-packages" in Path(obs_core.__file__).parts
    assert version("obs-core") != version("obs-celery")
    app = Celery("mixed", broker="memory://", task_always_eager=True)
    engine = sqlalchemy.create_engine("sqlite://")
    celery, database = instrument_celery(app), instrument_sqlalchemy(engine)

    @app.task(name="count")
    def count() -> int:
        with engine.connect() as connection:
            return int(connection.execute(sqlalchemy.text("SELECT 1")).scalar_one())

    assert count.delay().get() == 1
    database.uninstrument()
    celery.uninstrument()
    assert len({span.context.trace_id for span in spans}) == 1
    assert {"process count", "SELECT"} <= {span.name for span in spans}
