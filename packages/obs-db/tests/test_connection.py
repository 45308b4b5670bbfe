"""Address, port and database of engines whose URL does not say them: the open connection does."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from obs_core.testing import SpanRecorder
from obs_db import instrument_sqlalchemy
from obs_db.sqlalchemy._attributes import pool_name
from sqlalchemy import __version__ as sqlalchemy_version
from sqlalchemy import create_engine, event, exc, text
from sqlalchemy.engine import Engine
from sqlalchemy.engine.url import URL, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import QueuePool

PLACE = ("server.address", "server.port", "db.namespace", "network.transport")


def expected(url: URL) -> dict[str, Any]:
    """Return what spans of the database at `url` say about its place."""
    host = url.host or str(url.query.get("host", ""))
    port = url.port or {"postgresql": 5432, "mysql": 3306}[url.get_backend_name()]
    if not host or host.startswith("/"):
        return {"network.transport": "unix", "db.namespace": url.database}
    return {"server.address": host, "server.port": port, "db.namespace": url.database}


def place(spans: SpanRecorder) -> dict[str, Any]:
    """Return what the only span of a SELECT says about the place of its database."""
    attributes = spans.one("SELECT").attributes or {}
    return {key: attributes[key] for key in PLACE if key in attributes}


def bare(url: str) -> str:
    """Return `url` with nothing but its dialect and driver."""
    return f"{url.partition('://')[0]}://"


def select_one(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1 AS one"))


def driver_arguments(url: str) -> dict[str, Any]:
    """Return what SQLAlchemy would give the driver to connect to `url`."""
    made = make_url(url)
    _, arguments = made.get_dialect()().create_connect_args(made)
    return dict(arguments)


def _database_argument(arguments: dict[str, Any]) -> tuple[str, Any]:
    key = "dbname" if "dbname" in arguments else "database"  # of SQLAlchemy 1.4
    return key, arguments[key]


@pytest.mark.promise("DB-12")
def test_a_creator(server: Any, traced: None, spans: SpanRecorder) -> None:
    """Spans of engines with ``creator=`` or ``async_creator=`` say where the connections lead."""
    arguments = driver_arguments(server.url)
    if server.is_async:
        if sqlalchemy_version.startswith("1."):
            pytest.skip("SQLAlchemy 1.4 has no async_creator")
        asyncio.run(_with_async_creator(server, arguments))
    else:
        module = create_engine(server.url).dialect.dbapi
        engine = create_engine(
            bare(server.url), creator=lambda: module.connect(**arguments)
        )
        select_one(engine)
        assert pool_name(engine).endswith(f"/{make_url(server.url).database}")
        engine.dispose()

    assert place(spans) == expected(make_url(server.url))


async def _with_async_creator(server: Any, arguments: dict[str, Any]) -> None:
    async def connect() -> Any:
        import aiomysql
        import asyncpg
        import psycopg

        connects: dict[str, Callable[..., Any]] = {
            "asyncpg": asyncpg.connect,
            "aiomysql": aiomysql.connect,
            "psycopg": psycopg.AsyncConnection.connect,
        }
        return await connects[server.driver](**arguments)

    engine = create_async_engine(bare(server.url), async_creator=connect)
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1 AS one"))
    await engine.dispose()


@pytest.mark.promise("DB-12")
def test_a_creator_of_sqlite(tmp_path: Path, traced: None, spans: SpanRecorder) -> None:
    """SQLite is asked for its file once a connection; no folder is exported, nothing made up."""
    seen: list[str] = []

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(tmp_path / "shop.db")
        connection.set_trace_callback(seen.append)
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)
    with engine.connect() as connection:
        with pytest.raises(exc.OperationalError):
            connection.execute(text("SELECT nothing"))
        connection.execute(text("SELECT 1 AS one"))
        connection.execute(text("SELECT 2 AS two"))
    engine.dispose()

    assert [(span.attributes or {}).get("db.namespace") for span in spans] == [
        None,
        "shop.db",
        "shop.db",
    ]
    assert len([sql for sql in seen if "database_list" in sql]) == 1
    assert str(tmp_path) not in "".join(str(span.to_json()) for span in spans)


@pytest.mark.promise("DB-12")
def test_an_async_creator_of_sqlite(
    tmp_path: Path, traced: None, spans: SpanRecorder
) -> None:
    """So is aiosqlite."""
    if sqlalchemy_version.startswith("1."):
        pytest.skip("SQLAlchemy 1.4 has no async_creator")
    import aiosqlite

    async def main() -> None:
        engine = create_async_engine(
            "sqlite+aiosqlite://",
            async_creator=lambda: aiosqlite.connect(tmp_path / "shop.db"),
        )
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1 AS one"))
        await engine.dispose()

    asyncio.run(main())

    assert place(spans) == {"db.namespace": "shop.db"}


@pytest.mark.promise("DB-12")
def test_connections_to_several_servers(
    psycopg_url: str, traced: None, spans: SpanRecorder
) -> None:
    """Each connection of an engine says where itself leads."""
    dialect = create_engine(psycopg_url).dialect
    arguments = driver_arguments(psycopg_url)
    key, database = _database_argument(arguments)
    names = iter(["template1", database])

    engine = create_engine(
        bare(psycopg_url),
        creator=lambda: dialect.dbapi.connect(**{**arguments, key: next(names)}),
    )
    with engine.connect() as first, engine.connect() as second:
        for connection in (first, second, first):
            connection.execute(text("SELECT 1 AS one"))
    engine.dispose()

    databases = [(span.attributes or {})["db.namespace"] for span in spans]
    assert databases == ["template1", database, "template1"]


@pytest.mark.promise("DB-12")
def test_a_connect_listener(
    psycopg_url: str, traced: None, spans: SpanRecorder
) -> None:
    """A ``do_connect`` listener that leads elsewhere than the URL is followed."""
    engine = create_engine(f"{bare(psycopg_url)}ada:sesame@elsewhere.invalid/nowhere")
    arguments = driver_arguments(psycopg_url)

    def lead(_: object, __: object, ___: object, parameters: dict[str, Any]) -> None:
        parameters.clear()
        parameters.update(arguments)

    event.listen(engine, "do_connect", lead)
    select_one(engine)
    engine.dispose()

    found = place(spans)
    assert found.pop("db.namespace") == _database_argument(arguments)[1]
    assert "elsewhere.invalid" not in found.values()


@pytest.mark.promise("DB-12")
def test_servers_from_the_environment(
    psycopg_url: str, monkeypatch: pytest.MonkeyPatch, traced: None, spans: SpanRecorder
) -> None:
    """What libpq takes from its environment stands on the span as well."""
    url = make_url(psycopg_url)
    host = url.host or str(url.query.get("host", ""))
    settings = {"PGHOST": host, "PGPORT": url.port, "PGUSER": url.username}
    for name, value in {**settings, "PGDATABASE": url.database}.items():
        if value:
            monkeypatch.setenv(name, str(value))
    engine = create_engine(bare(psycopg_url))
    select_one(engine)
    engine.dispose()

    assert place(spans) == expected(url)


@pytest.mark.promise("DB-12")
def test_a_url_is_enough(psycopg_url: str, spans: SpanRecorder) -> None:
    """An engine made of its URL is not asked, and its connections keep nothing of ours."""
    engine = create_engine(psycopg_url)
    instrument_sqlalchemy(engine)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1 AS one"))
        assert not connection.info
    engine.dispose()

    assert place(spans).items() >= expected(make_url(psycopg_url)).items()
