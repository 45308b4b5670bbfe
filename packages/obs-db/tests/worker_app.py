"""A Celery application on instrumented Redis and PostgreSQL, run by ``celery --app worker_app worker``.

It is told by environment: ``REDIS_URL``, ``SINK_URL``, ``TRACING``: ``obs-db``, ``contrib`` or ``shaped``, and, where results
go to PostgreSQL and the task asks it as well, ``SQL_URL``. The benchmark of the idle worker runs it, too.
"""

from __future__ import annotations

import os
from typing import Any

import redis
import sqlalchemy
from celery import Celery, signals
from obs_core import TracingConfig, setup_tracing
from obs_core.integration import mark_worker_process
from obs_db import instrument_redis, instrument_sqlalchemy
from opentelemetry import trace
from sqlalchemy import text
from sqlalchemy.pool import NullPool

URL, SQL_URL = os.environ["REDIS_URL"], os.environ.get("SQL_URL")
manager, _ = setup_tracing(
    TracingConfig(
        service_name="worker",
        collector_url=os.environ["SINK_URL"],
        collector_protocol="http",
    ),
    instrument=None,
)
if os.environ["TRACING"] == "contrib":
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    RedisInstrumentor().instrument()
    SQLAlchemyInstrumentor().instrument(skip_dep_check=True)
elif os.environ["TRACING"] == "shaped":
    instrument_redis(implementation="contrib")
    instrument_sqlalchemy(
        implementation="contrib", contrib_options={"skip_dep_check": True}
    )
else:
    instrument_redis()
    instrument_sqlalchemy()
app = Celery("worker_app", broker=URL, backend=f"db+{SQL_URL}" if SQL_URL else URL)
app.conf.update(
    broker_connection_retry_on_startup=True, worker_hijack_root_logger=False
)


@signals.worker_init.connect  # type: ignore[untyped-decorator] # untyped in Celery
def this_is_a_worker(**_: Any) -> None:
    """Do what obs-celery does."""
    mark_worker_process()


@signals.worker_process_shutdown.connect  # type: ignore[untyped-decorator] # untyped in Celery
def flush(**_: Any) -> None:
    """Children end without the interpreter's exit hooks."""
    manager.flush()


@app.task  # type: ignore[untyped-decorator] # untyped in Celery
def count() -> int:
    """Run one command and one statement of its own, under the span that stands for the task's."""
    with trace.get_tracer("worker_app").start_as_current_span("run count"):
        client: Any = redis.Redis.from_url(URL)
        number = int(client.incr("worker_app:count"))
        client.close()
        if SQL_URL:
            with sqlalchemy.create_engine(
                SQL_URL, poolclass=NullPool
            ).connect() as connection:
                connection.execute(text("SELECT relname FROM pg_class LIMIT 1"))
    manager.flush()
    return number
