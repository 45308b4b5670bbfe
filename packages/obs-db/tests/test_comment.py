"""The trace in SQL comments: opt-in, and right for every driver."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy
from obs_core.exceptions import ConfigurationError
from obs_core.testing import SpanRecorder
from obs_db import instrument_sqlalchemy
from obs_db.sqlalchemy._comment import add_comment
from opentelemetry import trace
from sqlalchemy import create_engine, event, text
from sqlalchemy.ext.asyncio import create_async_engine

SHOW = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid() AND query LIKE :like"


def expected(span: trace.Span) -> str:
    context = span.get_span_context()
    return f"/*traceparent='00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}'*/"


@pytest.mark.promise("DB-07")
def test_postgres_sees_the_trace(spans: SpanRecorder, psycopg_url: str) -> None:
    """With pyformat parameters and percent signs the database sees the caller's span; the recorded text has no comment."""
    engine = create_engine(psycopg_url)
    instrument_sqlalchemy(engine, trace_comments=True)

    with (
        trace.get_tracer("test").start_as_current_span("request") as request,
        engine.connect() as connection,
    ):
        seen = connection.execute(text(SHOW + " AND 5 % 3 = 2"), {"like": "%"}).scalar()
    engine.dispose()

    assert str(seen).endswith(expected(request))
    told = spans.one("SELECT pg_stat_activity").attributes
    assert told is not None
    assert "traceparent" not in str(told["db.query.text"])


@pytest.mark.promise("DB-07")
def test_asyncpg_sees_the_trace(spans: SpanRecorder, asyncpg_url: str) -> None:
    """With numbered parameters (asyncpg) as well."""

    async def main() -> tuple[object, str]:
        engine = create_async_engine(asyncpg_url)
        instrument_sqlalchemy(engine, trace_comments=True)
        with trace.get_tracer("test").start_as_current_span("request") as request:
            async with engine.connect() as connection:
                seen = (await connection.execute(text(SHOW), {"like": "%"})).scalar()
        await engine.dispose()
        return seen, expected(request)

    seen, wanted = asyncio.run(main())

    assert str(seen).endswith(wanted)


@pytest.mark.promise("DB-07")
@pytest.mark.parametrize("paramstyle", ["qmark", "named"])
def test_every_paramstyle_of_sqlite(paramstyle: str, spans: SpanRecorder) -> None:
    """With question marks and names the statement runs, commented, and finds its parameters."""
    engine = create_engine("sqlite://", paramstyle=paramstyle)
    instrument_sqlalchemy(engine, trace_comments=True)
    sent: list[str] = []
    event.listen(
        engine,
        "after_cursor_execute",
        lambda conn, cursor, statement, *_: sent.append(statement),
    )

    with (
        trace.get_tracer("test").start_as_current_span("request") as request,
        engine.connect() as connection,
    ):
        row = connection.execute(
            text("SELECT :a, 'it''s 100%', :b"), {"a": 1, "b": "x"}
        ).one()
    engine.dispose()

    assert tuple(row) == (1, "it's 100%", "x")
    assert sent[0].endswith(expected(request))


@pytest.mark.promise("DB-07")
def test_comments_are_opt_in(
    traced: None, spans: SpanRecorder, psycopg_url: str
) -> None:
    """By default the statement reaches the database as it was written."""
    engine = create_engine(psycopg_url)
    with (
        trace.get_tracer("test").start_as_current_span("request"),
        engine.connect() as connection,
    ):
        seen = connection.execute(text(SHOW), {"like": "%"}).scalar()
    engine.dispose()

    assert "traceparent" not in str(seen)


@pytest.mark.promise("DB-07")
@pytest.mark.parametrize(
    ("sql", "form"),
    [
        ("SELECT 1", "SELECT 1 {}"),
        ("SELECT 1 ; ", "SELECT 1 {};"),
        ("SELECT 1 -- end", "SELECT 1 -- end\n{}"),
        ("SELECT 1 /* mine */", "SELECT 1 /* mine */"),
    ],
)
def test_where_the_comment_stands(sql: str, form: str, spans: SpanRecorder) -> None:
    """At the end, before a semicolon, on a line of its own after ``--``; beside another comment, not at all."""
    with trace.get_tracer("test").start_as_current_span("request") as request:
        assert add_comment(sql) == form.format(expected(request))
    assert add_comment(sql) == sql


DRIVER = "db_driver='{}'"  # psycopg's name depends on SQLAlchemy
FRAMEWORK = f"db_framework='sqlalchemy-{sqlalchemy.__version__}'"


@pytest.mark.promise("DB-36")
@pytest.mark.parametrize(
    ("chosen", "fields"),
    [
        ({}, [DRIVER, FRAMEWORK, "trace"]),
        ({"db_driver": False}, [FRAMEWORK, "trace"]),
        ({"db_framework": False, "db_driver": False}, ["trace"]),
        ({"opentelemetry_values": False}, [DRIVER, FRAMEWORK]),
        (
            dict.fromkeys(["db_driver", "db_framework", "opentelemetry_values"], False),
            [],
        ),
    ],
    ids=str,
)
def test_commenter_options_choose_the_fields(
    chosen: dict[str, bool], fields: list[str], spans: SpanRecorder, psycopg_url: str
) -> None:
    """As contrib's: each is there unless it is False; the database sees them, sorted by name."""
    engine = create_engine(psycopg_url)
    instrument_sqlalchemy(engine, trace_comments=True, commenter_options=chosen)
    with (
        trace.get_tracer("test").start_as_current_span("request") as request,
        engine.connect() as connection,
    ):
        seen = str(
            connection.execute(text(SHOW + " AND 5 % 3 = 2"), {"like": "%"}).scalar()
        )
    engine.dispose()

    ids = expected(request).removeprefix("/*").removesuffix("*/")
    given = [ids if each == "trace" else each for each in fields]
    wanted = ",".join(given).replace("{}", engine.driver)
    assert seen.endswith(f" = 2 /*{wanted}*/" if wanted else " = 2")


@pytest.mark.promise("DB-36")
@pytest.mark.parametrize("paramstyle", ["qmark", "named"])
def test_the_fields_hold_no_placeholder(paramstyle: str, spans: SpanRecorder) -> None:
    """Outside any span too, where there is no traceparent."""
    engine = create_engine("sqlite://", paramstyle=paramstyle)
    instrument_sqlalchemy(engine, trace_comments=True, commenter_options={})
    sent: list[str] = []
    event.listen(
        engine,
        "after_cursor_execute",
        lambda conn, cursor, statement, *_: sent.append(statement),
    )
    with engine.connect() as connection:
        row = connection.execute(text("SELECT :a, '100%'"), {"a": 1}).one()
    engine.dispose()

    assert tuple(row) == (1, "100%")
    assert sent[0].endswith(f" /*db_driver='pysqlite',{FRAMEWORK}*/")


@pytest.mark.promise("DB-36")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"commenter_options": {"db_driver": 1}}, "give True or False for db_driver"),
        ({"commenter_options": {"route": True}}, "use db_driver, db_framework"),
        ({"commenter_options": "db_driver"}, "give a dict"),
        ({"trace_comments": False, "commenter_options": {}}, "set trace_comments=True"),
    ],
    ids=str,
)
def test_wrong_commenter_options_are_an_error_at_set_up(
    options: dict[str, object], message: str
) -> None:
    """The message says the fix."""
    with pytest.raises(ConfigurationError, match=message):
        instrument_sqlalchemy(**{"trace_comments": True, **options})  # type: ignore[arg-type]
