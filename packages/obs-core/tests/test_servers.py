"""Real pre-forking web servers: however they fork and patch, each request is answered and exported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from obs_core.testing import OtlpSink, wait_until

from tests.services import free_port

APP = """
import os
from obs_core import TracingConfig, setup_tracing
from opentelemetry import trace

config = TracingConfig(
    service_name="web",
    collector_url=os.environ["SINK"],
    collector_protocol=os.environ["PROTOCOL"],
    schedule_delay_s=0.3,
    exit_timeout_s=20,
)
manager, _ = setup_tracing(config)
tracer = trace.get_tracer("web")
if os.environ["BOOT"]:
    tracer.start_span("boot").end()
    manager.flush(20)

def app(environ, start_response):
    with tracer.start_as_current_span("request"):
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]
"""

# gunicorn's own eventlet worker is gone since 26: teams that stay bring one like it
EVENTLET_WORKER = """
import warnings
from gunicorn.workers.sync import SyncWorker

class Worker(SyncWorker):
    def init_process(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import eventlet
        eventlet.monkey_patch()
        super().init_process()
"""

REQUESTS = 10


def gunicorn(port: int, *options: str) -> list[str]:
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "gunicorn",
        "web:app",
        "--workers=2",
    ]
    return [*command, f"--bind=127.0.0.1:{port}", "--no-control-socket", *options]


def uwsgi(port: int, *options: str) -> list[str]:
    command = [
        str(Path(sys.executable).with_name("uwsgi")),
        f"--http-socket=127.0.0.1:{port}",
        "--master",
        "--workers=2",
    ]
    return [*command, "--wsgi-file=web.py", "--callable=app", "--die-on-term", *options]


@contextmanager
def serving(
    command: list[str], folder: Path, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block is left; end it by SIGTERM, as a container's end does."""
    (folder / "web.py").write_text(APP)
    (folder / "eventlet_worker.py").write_text(EVENTLET_WORKER)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )
        try:
            yield server
            server.send_signal(signal.SIGTERM)
            server.wait(50)
        finally:
            server.kill()
            server.wait(10)


def requested(server: subprocess.Popen[bytes], port: int) -> int:
    """Send `REQUESTS` requests, the first as soon as the server answers; return how many succeeded."""
    deadline = time.monotonic() + 60
    while True:
        try:
            urlopen(f"http://127.0.0.1:{port}/", timeout=20).close()
            break
        except OSError:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return 1 + sum(
        urlopen(f"http://127.0.0.1:{port}/", timeout=20).read() == b"ok"
        for _ in range(REQUESTS - 1)
    )


SERVERS = {
    "gunicorn sync": gunicorn,
    "gunicorn gevent": lambda port, *more: gunicorn(port, "-k", "gevent", *more),
    "gunicorn eventlet": lambda port, *more: gunicorn(
        port, "-k", "eventlet_worker.Worker", *more
    ),
    "uWSGI": uwsgi,
    "uWSGI threads": lambda port, *more: uwsgi(port, "--enable-threads", *more),
    "uWSGI gevent": lambda port, *more: uwsgi(
        port, "--gevent=10", "--gevent-monkey-patch", *more
    ),
}


LOADED = ["by the master", "by the master, which ends a span", "by each worker"]
OPTIONS = {("gunicorn", True): ["--preload"], ("uWSGI", False): ["--lazy-apps"]}


def serve_requests(
    folder: Path, server: str, loaded: str, is_arrived: Callable[[], bool], **env: str
) -> int:
    """Start a server, send requests, and stop it when `is_arrived`; return how many were answered."""
    port, is_masters = free_port(), loaded.startswith("by the master")
    command = SERVERS[server](port, *OPTIONS.get((server.split()[0], is_masters), []))
    with serving(
        command, folder, BOOT="1" if "ends a span" in loaded else "", **env
    ) as process:
        answered = requested(process, port)
        wait_until(is_arrived, message=lambda: _log(folder))
        if server.startswith("uWSGI") and not is_masters:
            # a worker that is loading when SIGTERM comes to uWSGI 2.0.31 goes on for a minute
            wait_until(lambda: _log(folder).count("WSGI app 0") == 2)
    return answered


@pytest.mark.promise("CORE-23", "CORE-25")
@pytest.mark.parametrize("loaded", LOADED)
@pytest.mark.parametrize("server", SERVERS)
def test_each_request_is_answered_and_exported(
    tmp_path: Path, otlp_sink: OtlpSink, server: str, loaded: str
) -> None:
    """Whether the set-up, or the first span, comes before the fork and the patching or after it."""
    answered = serve_requests(
        tmp_path, server, loaded, lambda: len(otlp_sink.named("request")) >= REQUESTS,
        SINK=otlp_sink.url, PROTOCOL="http",
    )  # fmt: skip
    requests = otlp_sink.named("request")
    print(f"| {server} | {loaded} | http | {answered} | {len(requests)} |")
    assert answered == len(requests) == REQUESTS, _log(tmp_path)
    assert len({span.trace_id for span in requests}) == REQUESTS
    processes = {span.resource["process.pid"] for span in requests}
    assert len({span.resource["service.instance.id"] for span in requests}) == len(
        processes
    )
    assert len(otlp_sink.named("boot")) == ("ends a span" in loaded), _log(tmp_path)


@pytest.mark.soak
@pytest.mark.promise("CORE-23", "CORE-25")
@pytest.mark.parametrize("loaded", LOADED)
@pytest.mark.parametrize("server", SERVERS)
def test_each_request_is_answered_and_exported_by_grpc(
    tmp_path: Path, grpc_sink: Any, server: str, loaded: str
) -> None:
    """Its threads and its channel are the parent's too."""
    answered = serve_requests(
        tmp_path, server, loaded, lambda: grpc_sink.names.count("request") >= REQUESTS,
        SINK=grpc_sink.url, PROTOCOL="grpc",
    )  # fmt: skip
    exported = grpc_sink.names.count("request")
    print(f"| {server} | {loaded} | grpc | {answered} | {exported} |")
    assert answered == exported == REQUESTS, _log(tmp_path)
    assert grpc_sink.names.count("boot") == ("ends a span" in loaded), _log(tmp_path)


def _log(folder: Path) -> str:
    return (folder / "log").read_text()
