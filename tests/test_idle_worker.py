"""A Celery worker whose broker, backend and body use the Redis that is instrumented: its own traffic makes no traces."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery
from obs_core.testing import OtlpSink

APP = """
import os

import redis
from celery import Celery
from obs_celery import instrument_celery
from obs_core import TracingConfig, setup_tracing
from obs_db import instrument_redis

setup_tracing(TracingConfig(service_name="worker"))
instrument_celery()
instrument_redis()
app = Celery("app", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(task_default_queue="idle", worker_send_task_events=True, broker_connection_retry_on_startup=True)

@app.task(name="touch")
def touch():
    return bool(redis.Redis.from_url(os.environ["REDIS_URL"]).set("touched", 1))
"""


@pytest.mark.promise("CEL-43", "DB-23")
def test_worker_makes_no_root_spans_of_its_own(
    redis_url: str, otlp_sink: OtlpSink, tmp_path: Path
) -> None:
    """Start, mingle, heartbeats, events, results, stop: the two executions are the only roots, the body's SET is in each."""
    (tmp_path / "app.py").write_text(APP)
    environment = {
        **os.environ,
        "REDIS_URL": redis_url,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": otlp_sink.url,
    }
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "app",
        "worker",
        "-c",
        "1",
        "-l",
        "warning",
        "-n",
        "idle@%h",
    ]
    producer = Celery("producer", broker=redis_url, backend=redis_url)
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as worker:
        try:
            for _ in range(2):
                assert producer.send_task("touch", queue="idle").get(timeout=60)
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(30)
    spans = otlp_sink.spans
    assert [span.name for span in spans if not span.parent_id] == ["process touch"] * 2
    executions = {span.span_id for span in spans if not span.parent_id}
    assert {span.parent_id for span in spans if span.name == "SET"} == executions
