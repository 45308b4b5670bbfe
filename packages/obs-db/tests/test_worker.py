"""Redis in a real Celery worker: the broker's own traffic is no trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from celery import Celery
from obs_core.testing import OtlpSink, SinkSpan

from tests.services import embedded_redis

TASKS = 5


@contextmanager
def worker(redis_url: str, sink: OtlpSink, tracing: str) -> Iterator[None]:
    """Run `worker_app` with two children and events, and end it warmly."""
    here = str(Path(__file__).parent)
    environment = {**os.environ, "REDIS_URL": redis_url, "SINK_URL": sink.url, "REDIS_TRACING": tracing, "PYTHONPATH": here}
    command = [
        sys.executable,
        "-m",
        "celery",
        "--quiet",
        "--app",
        "worker_app",
        "worker",
        "--concurrency",
        "2",
        "--task-events",
    ]
    process = subprocess.Popen([*command, "--loglevel", "ERROR"], env=environment, cwd=here)
    try:
        yield
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    finally:
        process.kill()
        process.wait(10)


def spans_of_a_worker(sink: OtlpSink, tracing: str) -> list[SinkSpan]:
    """Let a worker run a few tasks, answer an inspection, end, and return everything it exported."""
    with embedded_redis() as url, Celery("worker_app", broker=url, backend=url) as app, worker(url, sink, tracing):
        results = [app.send_task("worker_app.count") for _ in range(TASKS)]
        assert sorted(result.get(timeout=60) for result in results) == list(range(1, TASKS + 1))
        assert app.control.inspect(timeout=10, limit=1).ping()
    return sink.spans


@pytest.mark.promise("DB-23")
def test_a_worker_exports_its_tasks_alone(otlp_sink: OtlpSink) -> None:
    """Of main process and children nothing is exported but each task's span and what the task itself asked Redis."""
    spans = spans_of_a_worker(otlp_sink, "obs-db")

    roots = [span for span in spans if not span.parent_id]
    assert [span.name for span in roots] == ["run count"] * TASKS
    commands = [span for span in spans if span.parent_id]
    assert [span.name for span in commands] == ["INCRBY"] * TASKS
    assert {span.parent_id for span in commands} == {span.span_id for span in roots}


@pytest.mark.promise("DB-23")
def test_what_is_left_out_is_there(otlp_sink: OtlpSink) -> None:
    """The same worker under contrib's instrumentation shows that there was something to leave out."""
    spans = spans_of_a_worker(otlp_sink, "contrib")

    assert len([span for span in spans if not span.parent_id and span.name != "run count"]) > TASKS
