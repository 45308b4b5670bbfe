"""`instrument_sqlalchemy`: one span a statement, whatever the order of things."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sqlite3
import subprocess
import sys
import weakref

import pytest
from obs_core.exceptions import ConfigurationError
from obs_core.testing import SpanRecorder
from obs_db import instrument_sqlalchemy, uninstrument_sqlalchemy
from obs_db.sqlalchemy._events import _LISTENERS
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from sqlalchemy import create_engine, event, exc, text
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

COUNT_FOR_A_SECOND = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 9000000) SELECT count(*) FROM c"
LEAVES_CONNECTIONS = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def run(engine: Engine, sql: str) -> None:
    with engine.connect() as connection:
        connection.execute(text(sql))


async def run_async(engine: AsyncEngine, sql: str) -> None:
    async with engine.connect() as connection:
        await connection.execute(text(sql))


@pytest.mark.promise("DB-01", "DB-04")
def test_one_statement_is_one_span(
    engine: Engine, traced: None, spans: SpanRecorder
) -> None:
    """A statement gives one CLIENT span with the stable names, and no ``connect`` beside it."""
    with (
        trace.get_tracer("test").start_as_current_span("request"),
        engine.connect() as connection,
    ):
        connection.execute(
            text("SELECT id FROM users WHERE name = :name"), {"name": "ada"}
        )

    assert len(spans) == 2
    spans.assert_span(
        "SELECT users",
        kind="CLIENT",
        parent="request",
        attributes={
            "db.system.name": "sqlite",
            "db.namespace": ":memory:",
            "db.operation.name": "SELECT",
            "db.collection.name": "users",
            "db.query.summary": "SELECT users",
            "db.query.text": "SELECT id FROM users WHERE name = ?",
        },
    )
    spans.assert_tree("""
        request [INTERNAL]
          SELECT users [CLIENT]
    """)


@pytest.mark.promise("DB-01")
def test_engines_made_and_used_before_and_after(spans: SpanRecorder) -> None:
    """Engines made before and after, connections open already, and copies with options: one span a statement each."""
    early = create_engine("sqlite://")
    connection = early.connect()
    connection.execute(text("SELECT 1"))
    instrument_sqlalchemy()
    late = create_engine("sqlite://")

    connection.execute(text("SELECT 1"))
    run(early, "SELECT 1")
    run(late, "SELECT 1")
    run(late.execution_options(isolation_level="SERIALIZABLE"), "SELECT 1")
    connection.close()
    early.dispose()
    late.dispose()

    assert [span.name for span in spans] == ["SELECT"] * 4


@pytest.mark.promise("DB-01")
@pytest.mark.parametrize(
    "order",
    [
        "from sqlalchemy import create_engine; import obs_db; obs_db.instrument_sqlalchemy(); e = create_engine('sqlite://')",
        "import obs_db; obs_db.instrument_sqlalchemy(); from sqlalchemy import create_engine; e = create_engine('sqlite://')",
        "import obs_db as o; o.instrument_sqlalchemy(); import sqlalchemy.ext.asyncio, sqlalchemy as s; e = s.create_engine('sqlite://')",
        "from sqlalchemy import create_engine; e = create_engine('sqlite://'); import obs_db; obs_db.instrument_sqlalchemy(e)",
        "import sqlalchemy as s, obs_db; i = obs_db.instrument_sqlalchemy; e = s.create_engine('sqlite://'); i(e); i(); i(e)",
    ],
)
def test_any_import_order(order: str) -> None:
    """In a fresh interpreter, whoever is imported first, one statement is one span."""
    program = (
        "from obs_core.testing import record_spans\n"
        f"with record_spans() as spans:\n    {order}\n"
        "    from sqlalchemy import text\n    with e.connect() as c: c.execute(text('SELECT 1'))\n"
        "    print(spans.tree())\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout == "SELECT [CLIENT]\n"


@pytest.mark.promise("DB-01")
@LEAVES_CONNECTIONS
def test_async_engines(traced: None, spans: SpanRecorder, asyncpg_url: str) -> None:
    """Statements of async engines on aiosqlite and asyncpg are children of the task that awaits them."""

    async def main() -> None:
        for url in ("sqlite+aiosqlite://", asyncpg_url):
            engine = create_async_engine(url)
            with trace.get_tracer("test").start_as_current_span(url.partition(":")[0]):
                await asyncio.gather(*(run_async(engine, "SELECT 1") for _ in range(2)))
            await engine.dispose()

    asyncio.run(main())

    spans.assert_tree("""
        sqlite+aiosqlite [INTERNAL]
          SELECT [CLIENT]
          SELECT [CLIENT]
        postgresql+asyncpg [INTERNAL]
          SELECT [CLIENT]
          SELECT [CLIENT]
    """)
    gc.collect()


async def begun(engine: AsyncEngine, sql: str) -> asyncio.Task[None]:
    """Return the task that runs `sql`, as soon as the driver has been given the statement."""
    given = asyncio.Event()
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *_: given.set())
    task = asyncio.create_task(run_async(engine, sql))
    await asyncio.wait_for(given.wait(), 60)
    return task


@pytest.mark.promise("DB-01")
@LEAVES_CONNECTIONS
@pytest.mark.parametrize("scheme", ["sqlite+aiosqlite", "postgresql+asyncpg"])
def test_a_cancelled_statement_is_told_and_closed(
    scheme: str, traced: None, spans: SpanRecorder, asyncpg_url: str
) -> None:
    """A statement that is cancelled in flight has one ended span, marked as cancelled and not as failed."""
    url, sql = (
        (asyncpg_url, "SELECT pg_sleep(30)")
        if scheme != "sqlite+aiosqlite"
        else (f"{scheme}://", COUNT_FOR_A_SECOND)
    )

    async def main() -> None:
        engine = create_async_engine(url)
        task = await begun(engine, sql)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await engine.dispose()

    asyncio.run(main())

    (span,) = spans.finished
    assert span.attributes is not None
    assert (span.attributes["obs.cancelled"], span.status.status_code) == (
        True,
        StatusCode.UNSET,
    )
    assert span.end_time is not None
    gc.collect()


@pytest.mark.promise("DB-01")
def test_a_listener_that_raises_leaves_nothing_open(
    engine: Engine, traced: None, spans: SpanRecorder
) -> None:
    """Where another listener raises between our two, the next statement is told as ever, and nothing twice."""

    def fail(*_: object) -> None:
        raise RuntimeError("no")

    event.listen(engine, "before_cursor_execute", fail)
    with pytest.raises(RuntimeError):
        run(engine, "SELECT 1")
    event.remove(engine, "before_cursor_execute", fail)
    spans.clear()

    run(engine, "SELECT 2")

    assert len(spans) == 1


@pytest.mark.promise("DB-01")
@LEAVES_CONNECTIONS
def test_an_engine_disposed_in_flight(
    traced: None, spans: SpanRecorder, psycopg_url: str
) -> None:
    """Disposing an engine while one of its connections is out changes nothing about the spans."""
    other = create_engine(psycopg_url)
    with other.connect() as connection:
        connection.execute(text("SELECT 1"))
        other.dispose()
        connection.execute(text("SELECT 1"))
    run(other, "SELECT 1")
    other.dispose()

    assert len(spans) == 3
    gc.collect()


@pytest.mark.promise("DB-01")
@LEAVES_CONNECTIONS
def test_an_async_engine_disposed_in_flight(
    traced: None, spans: SpanRecorder, asyncpg_url: str
) -> None:
    """Disposing an async engine while a statement runs leaves that statement its one span, and the next one its own."""

    async def main() -> None:
        engine = create_async_engine(asyncpg_url)
        task = await begun(engine, "SELECT pg_sleep(0.2)")
        await engine.dispose()
        await task
        await run_async(engine, "SELECT 1 AS one")
        await engine.dispose()

    asyncio.run(main())

    assert [(span.name, span.status.status_code) for span in spans] == [
        ("SELECT", StatusCode.UNSET)
    ] * 2
    gc.collect()


FORKING = """
import os, sys
from obs_core.testing import record_spans
from obs_db import instrument_sqlalchemy
from sqlalchemy import create_engine, text

engine = create_engine(sys.argv[1])
instrument_sqlalchemy()


def tell(who, count):
    with record_spans() as spans:
        for _ in range(count):
            with engine.connect() as connection:
                connection.execute(text("SELECT 1 AS one"))
    print(who, [span.name for span in spans], flush=True)


tell("before", 1)
if os.fork() == 0:
    engine.pool = engine.pool.recreate()
    tell("child", 2)
    os._exit(0)
os.wait()
tell("parent", 3)
engine.dispose()
"""


@pytest.mark.promise("DB-01")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_engine(psycopg_url: str) -> None:
    """An engine that was traced before a fork is traced in the child and in the parent, one span a statement."""
    command = [
        sys.executable,
        "-W",
        "ignore::DeprecationWarning",
        "-c",
        FORKING,
        psycopg_url,
    ]

    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.splitlines() == [
        "before ['SELECT']",
        f"child {['SELECT'] * 2}",
        f"parent {['SELECT'] * 3}",
    ]


@pytest.mark.promise("DB-02")
def test_service_name_of_one_engine(engine: Engine, spans: SpanRecorder) -> None:
    """What one engine is called stands on its spans alone; engines that were not named stay untraced, or plain."""
    other = create_engine("sqlite://")
    instrument_sqlalchemy(engine, service_name="orders-db")

    run(engine, "SELECT 1")
    run(other, "SELECT 1")
    instrument_sqlalchemy()
    run(engine, "SELECT 1")
    run(other, "SELECT 1")
    uninstrument_sqlalchemy(engine)
    run(engine, "SELECT 1")
    other.dispose()

    names = [
        (span.attributes.get("service.peer.name"), span.attributes.get("peer.service"))
        for span in spans
        if span.attributes is not None
    ]
    named, plain = ("orders-db", "orders-db"), (None, None)
    assert names == [named, named, plain, plain]


@pytest.mark.promise("DB-02")
def test_service_name_of_an_async_engine(spans: SpanRecorder) -> None:
    """An AsyncEngine can be named as well."""
    engine = create_async_engine("sqlite+aiosqlite://")
    handle = instrument_sqlalchemy(engine, service_name="orders-db")

    async def main() -> None:
        await run_async(engine, "SELECT 1")
        await engine.dispose()

    asyncio.run(main())
    handle.uninstrument()

    (span,) = spans.finished
    assert span.attributes is not None
    assert span.attributes["service.peer.name"] == "orders-db"


@pytest.mark.promise("DB-03")
def test_errors_say_no_value(engine: Engine, traced: None, spans: SpanRecorder) -> None:
    """A failed statement tells type and code, never the message, in which databases quote values."""
    with pytest.raises(exc.IntegrityError):
        run(engine, "INSERT INTO users (name) VALUES ('grace')")

    (span,) = spans.finished
    assert span.attributes is not None
    assert (span.status.status_code, span.events) == (StatusCode.ERROR, ())
    assert (span.status.description or "").startswith("IntegrityError")
    assert span.attributes["error.type"] == "sqlite3.IntegrityError"
    assert "grace" not in span.to_json()


@pytest.mark.promise("DB-03", "DB-04")
def test_postgres_error(traced: None, spans: SpanRecorder, psycopg_url: str) -> None:
    """PostgreSQL's SQLSTATE stands in ``db.response.status_code``; its DETAIL, which quotes the row, stands nowhere."""
    engine = create_engine(psycopg_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE t (name VARCHAR(20) UNIQUE)"))
        with pytest.raises(exc.IntegrityError):
            connection.execute(text("INSERT INTO t VALUES ('sesame'), ('sesame')"))
    engine.dispose()

    span = spans.one("INSERT t")
    assert span.attributes is not None
    assert span.attributes["db.system.name"] == "postgresql"
    assert span.attributes["db.response.status_code"] == "23505"
    assert span.status.description == "UniqueViolation (23505)"
    assert "sesame" not in span.to_json()


ODD = [
    "",
    "-- only",
    "/* only */",
    " ",
    ";",
    "SELECT '" + "x" * 1_000_000 + "'",
    "SELECT \udcff",
    "SELECT \0",
    "SELEC",
    "SELECT 1 --",
]


def outcome(engine: Engine, sql: str) -> str:
    """Run `sql` and say what came of it."""
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(sql)
    except (exc.SQLAlchemyError, ValueError, sqlite3.Warning) as error:
        return str(error)
    return "done"


@pytest.mark.promise("DB-03")
@pytest.mark.parametrize("sql", ODD, ids=lambda sql: repr(sql[:12]))
@pytest.mark.parametrize("system", ["sqlite", "postgresql"])
def test_odd_statements(
    system: str,
    sql: str,
    spans: SpanRecorder,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    """Comment-only, empty, huge and undecodable SQL ends as without us, and gives one span; nothing of ours is logged."""
    engine = create_engine(
        "sqlite://" if system == "sqlite" else request.getfixturevalue("psycopg_url")
    )
    untouched = outcome(engine, sql)
    instrument_sqlalchemy()
    assert outcome(engine, sql) == untouched
    engine.dispose()

    (span,) = spans.finished
    assert span.name
    assert len(span.to_json()) < 5_000
    assert not caplog.records


@pytest.mark.promise("DB-03")
def test_binary_statements(traced: None, spans: SpanRecorder, engine: Engine) -> None:
    """A statement of bytes, which SQLite refuses, is refused with SQLite's own words."""
    with (
        engine.connect() as connection,
        pytest.raises((TypeError, exc.SQLAlchemyError)),
    ):
        connection.exec_driver_sql(b"SELECT \xff 'sesame'")  # type: ignore[arg-type] # the point of the test

    assert "sesame" not in "".join(exported(span) for span in spans)


@pytest.mark.promise("DB-03")
def test_a_failing_instrumentation_is_not_felt(
    engine: Engine,
    traced: None,
    spans: SpanRecorder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever breaks in us, the statement runs, and the log says so."""

    def broken(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr("obs_db.sqlalchemy._events.describe", broken)

    with caplog.at_level(logging.ERROR), engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1

    assert not spans.finished


def exported(span: ReadableSpan) -> str:
    return str(span.to_json())


def test_uninstrument_takes_everything_back(
    engine: Engine, spans: SpanRecorder
) -> None:
    """After `uninstrument_sqlalchemy` nothing is traced; instrumenting twice before changed nothing."""
    first = instrument_sqlalchemy()
    assert instrument_sqlalchemy() is first
    uninstrument_sqlalchemy()
    uninstrument_sqlalchemy()

    run(engine, "SELECT 1")

    assert not spans.finished
    assert not first.is_active
    assert not any(
        event.contains(Engine, name, listener) for name, listener, _ in _LISTENERS
    )


def test_engines_are_not_kept_alive(spans: SpanRecorder) -> None:
    """An engine that was instrumented and is let go is gone."""
    engine = create_engine("sqlite://")
    handle = instrument_sqlalchemy(engine)
    run(engine, "SELECT 1")
    engine.dispose()
    alive = weakref.ref(engine)

    del engine
    gc.collect()

    assert alive() is None
    handle.uninstrument()


@pytest.mark.promise("DB-01")
def test_contrib_beside_us(
    engine: Engine,
    spans: SpanRecorder,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where contrib instruments SQLAlchemy already, we warn once and do not double its spans."""
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    monkeypatch.setattr("obs_core._safety.containment._warned", set())
    SQLAlchemyInstrumentor().instrument(engine=engine, skip_dep_check=True)
    try:
        instrument_sqlalchemy()
        run(engine, "SELECT 1")
    finally:
        SQLAlchemyInstrumentor().uninstrument()

    assert len([span for span in spans if span.name.startswith("SELECT")]) == 1
    assert (
        len(
            [
                record
                for record in caplog.records
                if "not instrumenting twice" in record.message
            ]
        )
        == 1
    )


@pytest.mark.promise("DB-01")
def test_contrib_after_us(
    spans: SpanRecorder,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Switched on after us, contrib has the engines it listens to, with one warning; the others stay ours, nothing doubles."""
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    monkeypatch.setattr("obs_core._safety.containment._warned", set())
    instrument_sqlalchemy()
    mine, theirs = create_engine("sqlite://"), create_engine("sqlite://")
    run(mine, "SELECT 1 AS before")
    run(theirs, "SELECT 1 AS before")
    SQLAlchemyInstrumentor().instrument(engine=theirs, skip_dep_check=True)
    try:
        for _ in range(2):
            run(mine, "SELECT 1 AS beside")
            run(theirs, "SELECT 1 AS beside")
    finally:
        SQLAlchemyInstrumentor().uninstrument()
    run(theirs, "SELECT 1 AS after")
    mine.dispose()
    theirs.dispose()

    told = [
        span.instrumentation_scope for span in spans if span.name.startswith("SELECT")
    ]
    contrib = "opentelemetry.instrumentation.sqlalchemy"
    assert [scope and scope.name for scope in told] == [
        "obs_db",
        "obs_db",
        "obs_db",
        contrib,
        "obs_db",
        contrib,
        "obs_db",
    ]
    assert (
        len(
            [
                record
                for record in caplog.records
                if "not instrumenting twice" in record.message
            ]
        )
        == 1
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"roots": "sometimes"}, "roots='sometimes'"),
        ({"service_name": " "}, "service_name=' ' is not valid"),
        ({"slow_threshold_s": -1}, "slow_threshold_s=-1"),
        ({"n_plus_one_threshold": 1}, "n_plus_one_threshold=1"),
        ({"engine": "sqlite://"}, "engine='sqlite://' is not valid"),
    ],
)
def test_bad_options(options: dict[str, object], said: str) -> None:
    """What a programmer writes wrong raises at set-up, and says the value and the fix."""
    with pytest.raises(ConfigurationError, match=said):
        instrument_sqlalchemy(**options)  # type: ignore[arg-type] # the point of the test
