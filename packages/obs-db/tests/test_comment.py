"""The trace in SQL comments: opt-in, and right for every driver."""

from __future__ import annotations

import asyncio

import pytest
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
