"""Celery's own traffic makes no traces where the client that it uses is instrumented: in a worker, in a script."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery
from obs_core.testing import OtlpSink

from tests.services import celery_worker

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


SCRIPT = """
import os
import sys

if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()

import redis
from celery import Celery, group
from obs_celery import instrument_celery
from obs_core.testing import record_spans
from obs_db import instrument_redis, instrument_sqlalchemy

app = Celery("script", broker=os.environ["REDIS_URL"], backend=os.environ["RESULTS"])
app.conf.task_default_queue = os.environ["QUEUE"]

@app.task(name="add")
def add(x, y):
    return x + y

if __name__ == "__main__":
    instrument_celery()
    instrument_redis()
    instrument_sqlalchemy()
    with record_spans() as spans:
        assert add.delay(1, 1).get(timeout=60) == 2
        assert group(add.s(1, 1), add.s(2, 2))().get(timeout=60) == [2, 4]
        assert add.delay(1, 1).forget() is None
        assert app.control.ping(timeout=10, limit=1)
        assert redis.Redis.from_url(os.environ["REDIS_URL"]).set("mine", 1)
    print(*sorted(span.name for span in spans.finished if span.parent is None))
"""


@pytest.mark.promise("CEL-49")
@pytest.mark.parametrize(
    ("results", "waits"), [("redis", "plain"), ("redis", "gevent"), ("sql", "plain")]
)
def test_results_in_a_script_make_no_root_spans(
    redis_url: str, tmp_path: Path, results: str, waits: str
) -> None:
    """Results from Redis and from a database, a group's, a forgotten one, a ping; the script's own SET is a root."""
    (tmp_path / "script.py").write_text(SCRIPT)
    told = {
        "REDIS_URL": redis_url,
        "RESULTS": redis_url
        if results == "redis"
        else f"db+sqlite:///{tmp_path}/results.db",
        "QUEUE": f"script-{results}-{waits}",
    }
    command = [sys.executable, "script.py", waits]
    with celery_worker("script", "--pool", "solo", folder=tmp_path, **told):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, **told},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["SET", *["publish", "add"] * 4]
