"""A real prefork worker sends its signals over gRPC to obs-view, which then goes away."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from obs_core.testing import wait_until

from tests.services import free_port, wait_for_port

APP = """
import logging
import os

from celery import Celery
from celery.utils.log import get_task_logger
from obs_celery import instrument_celery
from obs_core import TracingConfig, setup_tracing

setup_tracing(TracingConfig(service_name="worker", logs=True, schedule_delay_s=0.1))
instrument_celery()
app = Celery("app", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(task_default_queue="signals", broker_connection_retry_on_startup=True)
log = get_task_logger(__name__)


@app.task(name="work")
def work(number):
    log.info("working on %d", number, extra={"number": number})
    if number < 0:
        raise ValueError("negative")
    return number
"""
#: What gRPC's core and OpenTelemetry's exporters write; a line of ours may quote them.
_FOREIGN = re.compile(
    r"[EIW]\d{4} |chttp2|fork_posix|grpc\._|opentelemetry\.exporter|Traceback.*grpc"
)

#: The word of a child that ends in the outage.
_LOST = re.compile(r"exit: 0 spans exported, \d+ dropped \(collector")


@contextmanager
def obs_view(grpc: int, http: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run obs-view until the end of the block."""
    ports = ["--grpc-port", str(grpc), "--http-port", str(http)]
    command = [sys.executable, "-m", "obs_view", "serve", *ports]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        try:
            wait_for_port(grpc)
            wait_for_port(http)
            yield process
        finally:
            process.kill()


def get(http: int, path: str) -> Any:
    """Return what obs-view's page is given."""
    with urllib.request.urlopen(f"http://127.0.0.1:{http}{path}", timeout=10) as answer:
        return json.load(answer)


@contextmanager
def worker(folder: Path, redis_url: str, grpc: int) -> Iterator[tuple[Celery, Path]]:
    """Run a worker whose children run a task each, and stop it warmly; yield an app to send with, and its log."""
    (folder / "app.py").write_text(APP)
    said = folder / "worker.log"
    environment = {
        **os.environ,
        "REDIS_URL": redis_url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{grpc}",
    }
    options = ["-c", "2", "-l", "INFO", "--max-tasks-per-child", "1", "-n", f"w{grpc}"]
    command = [sys.executable, "-m", "celery", "-A", "app", "worker", *options]
    app = Celery("app", broker=redis_url, backend=redis_url, set_as_current=False)
    app.conf.task_default_queue = "signals"
    with said.open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: " ready." in said.read_text(), 60, message=said.read_text)
        yield app, said
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
    finally:
        process.kill()
        process.wait(10)
        app.close()


def run_task(app: Celery, number: int) -> None:
    with suppress(ValueError):
        app.send_task("work", args=[number]).get(timeout=40)


@pytest.mark.promise("CORE-95", "CORE-22", "CORE-38", "CEL-40")
def test_a_worker_s_lines_arrive_with_its_spans_and_an_outage_is_quiet(
    redis_url: str, tmp_path: Path
) -> None:
    """Celery's own lines and the task's, by each child, in the trace; then the collector is killed, and comes back.

    A child that ends in the outage says what it has lost; one that began in it delivers what it has, once there is a collector.
    """
    grpc, http = free_port(), free_port()
    with obs_view(grpc, http) as view, worker(tmp_path, redis_url, grpc) as (app, said):
        for number in (1, 2, -1):
            run_task(app, number)
        wait_until(lambda: lines(http, "raised unexpected"), 40, message=said.read_text)
        (failed,) = lines(http, "raised unexpected")
        wait_until(lambda: len(lines(http, "working on")) == 3, 40)
        working = {log["trace"]: log for log in lines(http, "working on")}
        assert failed["trace"] in working
        assert {log["service"] for log in working.values()} == {"worker"}
        wait_until(lambda: set(working) <= traces(http), 40, message=said.read_text)
        assert lines(http, "Task work")
        view.kill()
        view.wait()
        for number in (4, 5):
            run_task(app, number)
        wait_until(
            lambda: "does not take log records" in said.read_text(),
            40,
            message=said.read_text,
        )
        wait_until(lambda: _LOST.search(said.read_text()), 40, message=said.read_text)
        with obs_view(grpc, http):
            run_task(app, 6)
            wait_until(lambda: lines(http, "working on 6"), 60, message=said.read_text)
    foreign = [
        line
        for line in said.read_text().splitlines()
        if _FOREIGN.search(line) and "does not take" not in line
    ]
    assert foreign == []


def traces(http: int) -> set[str]:
    """Return the ids of the traces that have a span."""
    return {trace["id"] for trace in get(http, "/api/traces")["traces"]}


def lines(http: int, text: str) -> list[dict[str, Any]]:
    """Return the log records whose body has `text`."""
    return [log for log in get(http, "/api/logs")["logs"] if text in log["body"]]
