"""A collector that is down, or takes connections and never answers, delays no request and no exit."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from obs_core.testing import OtlpSink

from tests.services import free_port, wait_for_port

APP = """
from fastapi import FastAPI
from obs_core import TracingConfig, setup_tracing

manager, middleware_config = setup_tracing(TracingConfig(service_name="front"))
app = FastAPI()
app.add_middleware(*middleware_config)


@app.get("/")
async def index() -> str:
    return "ok"
"""


@pytest.fixture(params=["refused", "silent"])
def dead_collector(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a collector that does not answer: nothing listens there, or nobody ever reads."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "silent":
            listener.listen(128)
        yield listener.getsockname()[1]


@pytest.mark.promise("CORE-29", "CORE-20")
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_requests_and_exit_are_not_delayed(
    dead_collector: int, protocol: str, tmp_path: Path
) -> None:
    """More requests than the queue holds, each answered at once; SIGTERM ends the server in 2 s and a little, with a line."""
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{dead_collector}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BSP_MAX_QUEUE_SIZE": "256",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64",
    }
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "app:app",
        "--port",
        str(port),
        "--log-level",
        "error",
    ]
    server = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for_port(port)
        slowest = slowest_request(f"http://127.0.0.1:{port}/", 600)
        stopped_at = time.monotonic()
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=30)
    finally:
        server.kill()
        server.wait()
    assert slowest < 1.0
    assert time.monotonic() - stopped_at < 5.0
    assert said.count("does not take spans") <= 1
    assert "has not taken all spans" in said


def slowest_request(url: str, requests: int) -> float:
    """Send that many requests one after the other; return the longest one's duration in seconds."""
    slowest = 0.0
    with httpx.Client() as client:
        for _ in range(requests):
            start = time.monotonic()
            client.get(url).raise_for_status()
            slowest = max(slowest, time.monotonic() - start)
    return slowest


@pytest.mark.promise("CORE-25")
def test_server_that_dies_by_its_signal_loses_no_span(
    otlp_sink: OtlpSink, tmp_path: Path
) -> None:
    """Uvicorn raises SIGTERM again after its shutdown, so `atexit` never runs: the middleware flushes before that."""
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": otlp_sink.url}
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "app:app",
        "--port",
        str(port),
        "--log-level",
        "error",
    ]
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as server:
        wait_for_port(port)
        slowest_request(f"http://127.0.0.1:{port}/", 20)
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == -signal.SIGTERM
    assert len(otlp_sink.named("GET /")) == 20
