"""How a statement went: rows, batches, slow statements, repeated ones, parameters."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from obs_core.testing import SpanRecorder
from obs_db import instrument_sqlalchemy
from opentelemetry import trace
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, text
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import create_async_engine

tracer = trace.get_tracer("test")


def attributes(spans: SpanRecorder, name: str) -> dict[str, Any]:
    return dict(spans.one(name).attributes or {})


@pytest.mark.promise("DB-05")
def test_rows(
    traced: None, spans: SpanRecorder, engine: Engine, psycopg_url: str
) -> None:
    """Changed rows are counted; returned rows where the driver knows them before they are fetched."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE users SET name = name || '!'"))
    assert attributes(spans, "UPDATE users")["obs.db.affected_rows"] == 2

    postgres = create_engine(psycopg_url)
    with postgres.connect() as connection:
        connection.execute(text("SELECT * FROM generate_series(1, 7)"))
    postgres.dispose()
    assert attributes(spans, "SELECT")["db.response.returned_rows"] == 7


@pytest.mark.promise("DB-05")
def test_a_large_batch(engine: Engine, traced: None, spans: SpanRecorder) -> None:
    """An executemany of 10,000 rows is one span with its size, and a text as long as for one row."""
    rows = [{"name": f"name-{number}"} for number in range(10_000)]
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users (name) VALUES (:name)"), rows)

    told = attributes(spans, "INSERT users")
    assert (told["db.operation.batch.size"], told["obs.db.affected_rows"]) == (
        10_000,
        10_000,
    )
    assert told["db.query.text"] == "INSERT INTO users (name) VALUES (?)"


@pytest.mark.promise("DB-05")
def test_batch_with_returning(traced: None, spans: SpanRecorder) -> None:
    """Where SQLAlchemy 2 makes a few long statements of many rows, each tells the rows it has; together all."""
    if not hasattr(Table("x", MetaData()).insert(), "_sort_by_parameter_order"):
        pytest.skip("SQLAlchemy 1.4 has no insertmanyvalues")
    engine = create_engine("sqlite://")
    table = Table(
        "things",
        metadata := MetaData(),
        Column("id", Integer, primary_key=True),
        Column("a", String),
        Column("b", String),
    )
    with engine.begin() as connection:
        metadata.create_all(connection)
        connection.execute(
            table.insert().returning(table.c.id),
            [{"a": "x", "b": str(row)} for row in range(2_500)],
        )

    engine.dispose()
    told: list[dict[str, Any]] = [
        dict(span.attributes or {}) for span in spans.named("INSERT things")
    ]
    assert sum(each["db.operation.batch.size"] for each in told) == 2_500
    assert all(len(each["db.query.text"].encode()) <= 2048 for each in told)


@pytest.mark.promise("DB-05")
def test_slow_statement(spans: SpanRecorder, engine: Engine) -> None:
    """A statement that takes as long as the threshold tells which line of the user's code ran it."""
    instrument_sqlalchemy(slow_threshold_s=0.0)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    line = test_slow_statement.__code__.co_firstlineno + 5

    (event,) = spans.one("SELECT").events
    assert event.name == "obs.db.slow_statement"
    told = dict(event.attributes or {})
    assert told.pop("obs.db.duration") > 0  # type: ignore[operator] # a float
    assert str(told.pop("code.function.name")).endswith("test_slow_statement")
    assert told == {"code.file.path": __file__, "code.line.number": line}


@pytest.mark.promise("DB-05")
def test_slow_async_statement(spans: SpanRecorder) -> None:
    """In asyncio the line is found beyond SQLAlchemy's greenlet."""
    instrument_sqlalchemy(slow_threshold_s=0.0)

    async def main() -> None:
        engine = create_async_engine("sqlite+aiosqlite://")
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        await engine.dispose()

    asyncio.run(main())

    (event,) = spans.one("SELECT").events
    assert event.attributes is not None
    assert event.attributes["code.file.path"] == __file__


@pytest.mark.promise("DB-05")
def test_fast_statements_have_no_event(
    traced: None, spans: SpanRecorder, engine: Engine
) -> None:
    """With the default of 500 ms an ordinary statement has no event."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))

    assert spans.one("SELECT").events == ()


@pytest.mark.promise("DB-05")
def test_n_plus_one(spans: SpanRecorder, engine: Engine) -> None:
    """Five statements of one shape under one span give that span one event, at the fifth, however many follow."""
    instrument_sqlalchemy(n_plus_one_threshold=5)
    with tracer.start_as_current_span("request"), engine.connect() as connection:
        for number in range(12):
            connection.execute(text(f"SELECT name FROM users WHERE id = {number}"))
            connection.execute(text(f"SELECT {number} AS n{number}"))
    with tracer.start_as_current_span("other"), engine.connect() as connection:
        for _ in range(4):
            connection.execute(text("SELECT name FROM users"))

    (event,) = spans.one("request").events
    assert event.name == "obs.db.n_plus_one"
    assert event.attributes == {
        "db.operation.name": "SELECT",
        "db.collection.name": "users",
        "db.query.summary": "SELECT users",
        "db.query.text": "SELECT name FROM users WHERE id = ?",
        "obs.db.repetitions": 5,
    }
    assert spans.one("other").events == ()


@pytest.mark.promise("DB-05")
def test_n_plus_one_is_counted_for_a_bounded_number_of_shapes(
    spans: SpanRecorder, engine: Engine
) -> None:
    """A parent that runs ever new statements does not make us remember them all; nor a parent that is gone."""
    from obs_db.sqlalchemy._n_plus_one import _MAX_SHAPES, Repeats
    from obs_db.sqlalchemy._statement import describe

    repeats = Repeats(2)
    parent = tracer.start_span("script")
    for number in range(10 * _MAX_SHAPES):
        repeats.note(parent, describe(f"SELECT a{number}", "sqlite"))

    assert [len(shapes) for shapes in repeats._shapes.values()] == [_MAX_SHAPES]
    parent.end()
    del parent
    spans.clear()
    assert not list(repeats._shapes)


@pytest.mark.promise("DB-03")
def test_parameters_are_opt_in(spans: SpanRecorder, engine: Engine) -> None:
    """Parameters are recorded only on demand, cut at 256 bytes, and masked where their names look secret."""
    instrument_sqlalchemy(engine, capture_parameters=True)
    with engine.connect() as connection:
        connection.execute(text("SELECT :a, :b"), {"a": 5, "b": "x" * 1_000})

    told = attributes(spans, "SELECT")
    assert told["db.query.parameter.0"] == "5"
    assert len(str(told["db.query.parameter.1"]).encode()) == 256
    from obs_db.sqlalchemy._outcome import parameter_attributes

    assert parameter_attributes(None, {"api_token": "t", "id": 1}) == {
        "db.query.parameter.api_token": "[REDACTED]",
        "db.query.parameter.id": "1",
    }
