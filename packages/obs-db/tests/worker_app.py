"""A Celery application on an instrumented Redis, run by ``celery --app worker_app worker``: for the tests and the benchmark.

It is told by environment: ``REDIS_URL``, ``SINK_URL`` and ``REDIS_TRACING``, which is ``obs-db`` or ``contrib``.
"""

from __future__ import annotations

import os
from typing import Any

import redis
from celery import Celery, signals
from obs_core import TracingConfig, setup_tracing
from obs_core.integration import mark_worker_process
from obs_db import instrument_redis
from opentelemetry import trace

URL = os.environ["REDIS_URL"]
app = Celery("worker_app", broker=URL, backend=URL)
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
manager, _ = setup_tracing(
    TracingConfig(service_name="worker", collector_url=os.environ["SINK_URL"], collector_protocol="http"), instrument=None
)
if os.environ["REDIS_TRACING"] == "contrib":
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    RedisInstrumentor().instrument()
else:
    instrument_redis()


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
    """Run one command of its own, under the span that stands for the task's."""
    with trace.get_tracer("worker_app").start_as_current_span("run count"):
        client: Any = redis.Redis.from_url(URL)
        number = int(client.incr("worker_app:count"))
        client.close()
    manager.flush()
    return number
