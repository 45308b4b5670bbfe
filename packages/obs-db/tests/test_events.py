"""A statement's span on every driver: rows, batches, errors in fetching, one text a shape."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

import asyncpg
import pytest
from obs_core.testing import SpanRecorder
from obs_db import instrument_sqlalchemy
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    event,
    exc,
    select,
    text,
)
from sqlalchemy import __version__ as sqlalchemy_version
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import (
    Session,
    declarative_base,
    relationship,
    selectin_polymorphic,
    selectinload,
)

tracer = trace.get_tracer("test")

_ROWS = 900
_COUNT = f"WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {_ROWS}) SELECT "
#: What fails when its last row is read, and the database's code for that.
_FAILING = {
    "sqlite": (
        f"{_COUNT} abs(CASE n WHEN {_ROWS} THEN -9223372036854775808 ELSE n END) FROM g",
        "SQLITE_ERROR" if sys.version_info >= (3, 11) else None,
    ),
    "postgresql": (
        f"SELECT 1 / (n - {_ROWS}) FROM generate_series(1, {_ROWS}) n",
        "22012",
    ),
    "mysql": (
        f"{_COUNT} (SELECT 1 FROM (SELECT 1 UNION SELECT 2) x WHERE n = {_ROWS}) FROM g",
        "1242",
    ),
}
#: Of a stream, SQLAlchemy lets asyncpg's own errors through.
_RAISED = (exc.DBAPIError, asyncpg.PostgresError)
_metadata = MetaData()
things = Table(
    "obs_db_things",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(20)),
    Column("colour", String(20)),
    Column("size", String(20)),
)


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def with_table(work: Callable[[Connection], object]) -> Callable[[Connection], None]:
    """Return `work` with the table `things` made before and gone afterwards."""

    def run(connection: Connection) -> None:
        _metadata.drop_all(connection)
        _metadata.create_all(connection)
        work(connection)
        _metadata.drop_all(connection)

    return run


@pytest.mark.promise("DB-08")
@pytest.mark.parametrize("streamed", [False, True])
def test_rows_nobody_knows(
    database: Any, streamed: bool, traced: None, spans: SpanRecorder
) -> None:
    """Rows are counted where the driver knows them, and not where it says -1 or 2**64 - 1."""
    known: list[int] = []

    def work(connection: Connection) -> None:
        event.listen(
            connection,
            "after_cursor_execute",
            lambda _, c, *__: known.append(c.rowcount),
        )
        rows = connection.execution_options(stream_results=streamed).execute(
            text(f"{_COUNT} n FROM g")
        )
        assert len(rows.all()) == _ROWS

    database.run(work)

    assert known in ([_ROWS], [-1], [2**64 - 1])
    expected = _ROWS if known == [_ROWS] else None
    attributes = told(spans.one("SELECT"))
    assert attributes.get("db.response.returned_rows") == expected
    assert "obs.db.affected_rows" not in attributes


@pytest.mark.promise("DB-09")
@pytest.mark.parametrize("streamed", [False, True])
def test_errors_while_rows_are_fetched(
    database: Any, streamed: bool, traced: None, spans: SpanRecorder
) -> None:
    """An error in a row is on the statement's span, or on one below it that begins at its end."""
    sql, code = _FAILING[database.system]

    def work(connection: Connection) -> None:
        connection.execution_options(stream_results=streamed).execute(text(sql)).all()

    with pytest.raises(_RAISED) as raised:
        database.run(work)

    *before, failed = spans.finished
    error = getattr(raised.value, "orig", raised.value)
    description = type(error).__name__
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description == (
        f"{description} ({code})" if code else description
    )
    assert told(failed).get("db.response.status_code") == code
    assert told(failed)["error.type"].endswith(description)
    if before:
        (statement,) = before
        assert (statement.name, statement.status.status_code) == (
            "SELECT",
            StatusCode.UNSET,
        )
        assert failed.name == "FETCH"
        assert failed.parent == statement.context
        assert failed.start_time == statement.end_time
        assert told(failed)["db.operation.name"] == "FETCH"
        same = ("db.system.name", "db.namespace", "db.query.summary", "db.query.text")
        assert {key: told(failed).get(key) for key in same} == {
            key: told(statement).get(key) for key in same
        }


@pytest.mark.promise("DB-09")
def test_an_error_in_an_async_stream(
    asyncpg_url: str, traced: None, spans: SpanRecorder
) -> None:
    """So it is where an async engine streams."""
    sql, code = _FAILING["postgresql"]

    async def main() -> None:
        engine = create_async_engine(asyncpg_url)
        async with engine.connect() as connection:
            with tracer.start_as_current_span("request"), pytest.raises(_RAISED):
                async for _ in await connection.stream(text(sql)):
                    pass
        await engine.dispose()

    asyncio.run(main())

    spans.assert_tree(
        f"""
        request [INTERNAL]
          SELECT [CLIENT]
            FETCH [CLIENT] ERROR db.response.status_code='{code}'
        """,
        attributes=["db.response.status_code"],
    )


@pytest.mark.promise("DB-09")
def test_yield_per(traced: None, spans: SpanRecorder) -> None:
    """And where an ORM query is read a few objects at a time; one span, however often read on."""
    base: Any = declarative_base()

    class Thing(base):
        __tablename__ = "things"
        id = Column(Integer, primary_key=True)

    engine = create_engine("sqlite://")
    with Session(engine) as session:
        rows = session.execute(
            select(Thing)
            .from_statement(
                text(_FAILING["sqlite"][0].replace(" FROM g", " AS id FROM g"))
            )
            .execution_options(yield_per=10)
        )
        with pytest.raises(exc.OperationalError):
            rows.all()
        with suppress(exc.SQLAlchemyError):
            rows.all()
    engine.dispose()

    assert [(span.name, span.status.status_code) for span in spans] == [
        ("SELECT", StatusCode.UNSET),
        ("FETCH", StatusCode.ERROR),
    ]


@pytest.mark.promise("DB-09")
def test_an_error_below_no_span(traced: None, spans: SpanRecorder) -> None:
    """Where the statement has no span, an error in its rows has none either."""
    instrument_sqlalchemy().uninstrument()
    instrument_sqlalchemy(roots=False)
    engine = create_engine("sqlite://")
    with engine.connect() as connection, pytest.raises(exc.OperationalError):
        connection.execute(text(_FAILING["sqlite"][0])).all()
    engine.dispose()

    assert not spans.finished


@pytest.mark.promise("DB-10")
def test_one_text_for_lists_of_any_length(database: Any, spans: SpanRecorder) -> None:
    """A list of 1 to 4,000 values is one text on every driver, and so one shape of an N+1."""
    instrument_sqlalchemy(n_plus_one_threshold=13)

    def work(connection: Connection) -> None:
        with tracer.start_as_current_span("job"):
            for length in [*range(1, 13), 4_000]:
                few = things.c.name.in_([str(number) for number in range(length)])
                connection.execute(
                    select(things.c.id).where(few).where(things.c.size == "x")
                )

    database.run(with_table(work))

    texts = {
        told(span)["db.query.text"] for span in spans.named("SELECT obs_db_things")
    }
    assert len(texts) == 1
    assert "obs_db_things.name IN (?) AND" in texts.pop()
    (repeated,) = spans.one("job").events
    assert repeated.name == "obs.db.n_plus_one"


@pytest.mark.promise("DB-10")
def test_one_text_for_rows_of_any_number(
    database: Any, traced: None, spans: SpanRecorder
) -> None:
    """One to a thousand rows of a VALUES are one text on every driver."""
    rows = [{"name": "a", "colour": "b", "size": str(row)} for row in range(1_000)]

    def work(connection: Connection) -> None:
        for count in (1, 2, 7, 1_000):
            connection.execute(things.insert().values(rows[:count]))

    database.run(with_table(work))

    texts = {
        told(span)["db.query.text"] for span in spans.named("INSERT obs_db_things")
    }
    assert len(texts) <= 2  # of one row SQLAlchemy may ask for its id
    assert {sql.partition(" RETURNING")[0] for sql in texts} == {
        "INSERT INTO obs_db_things (name, colour, size) VALUES (?)"
    }


@pytest.mark.promise("DB-11")
def test_batch_size(database: Any, traced: None, spans: SpanRecorder) -> None:
    """The size of a batch is the number of its rows, whatever the number of columns."""
    rows = [{"name": "a", "colour": "b", "size": str(row)} for row in range(7)]

    database.run(
        with_table(lambda connection: connection.execute(things.insert(), rows))
    )

    assert told(spans.one("INSERT obs_db_things"))["db.operation.batch.size"] == 7


@pytest.mark.promise("DB-11")
def test_batch_size_with_shared_parameters(
    returning: Any, traced: None, spans: SpanRecorder
) -> None:
    """Parameters that the rows of a batch share are no rows; rows sent one by one are no batch."""
    dialect = sqlite if returning.system == "sqlite" else postgresql
    insert = dialect.insert(things)
    upsert = insert.on_conflict_do_update(
        index_elements=["id"], set_={"name": "taken", "size": insert.excluded.size}
    ).returning(things.c.id)
    rows = [{"id": row + 1, "name": "a", "size": str(row)} for row in range(10)]

    def work(connection: Connection) -> None:
        if sqlalchemy_version.startswith("1."):
            pytest.skip("SQLAlchemy 1.4 returns nothing of a batch")
        assert len(connection.execute(upsert, rows).all()) == 10

    database_rows = with_table(work)
    returning.run(database_rows)

    sizes = [
        told(span).get("db.operation.batch.size", 1)
        for span in spans.named("INSERT obs_db_things")
    ]
    assert sum(sizes) == 10
    assert sizes in ([10], [1] * 10)


@pytest.mark.promise("DB-11")
def test_batches_are_no_n_plus_one(returning: Any, spans: SpanRecorder) -> None:
    """Statements into which SQLAlchemy cuts a batch are no repetition, whatever the cut."""
    instrument_sqlalchemy(n_plus_one_threshold=2)
    rows = [{"name": "a", "colour": "b", "size": str(row)} for row in range(40)]

    def work(connection: Connection) -> None:
        options = {"insertmanyvalues_page_size": 4}
        batch = connection.execution_options(**options)
        with tracer.start_as_current_span("job"):
            if sqlalchemy_version.startswith("1."):
                for _ in range(3):
                    batch.execute(things.insert(), rows)
            else:
                batch.execute(things.insert().returning(things.c.id), rows).all()
                ordered = things.insert().returning(
                    things.c.id, sort_by_parameter_order=True
                )
                batch.execute(ordered, rows).all()

    returning.run(with_table(work))

    assert len(spans.named("INSERT obs_db_things")) >= 3
    assert spans.one("job").events == ()


base: Any = declarative_base()


class Parent(base):
    __tablename__ = "parents"
    id = Column(Integer, primary_key=True)
    kind = Column(String(10))
    children = relationship("Child")
    __mapper_args__: ClassVar[Any] = {
        "polymorphic_on": kind,
        "polymorphic_identity": "parent",
    }


class Special(Parent):
    __tablename__ = "specials"
    id = Column(ForeignKey("parents.id"), primary_key=True)
    note = Column(String(10))
    __mapper_args__: ClassVar[Any] = {"polymorphic_identity": "special"}


class Child(base):
    __tablename__ = "children"
    id = Column(Integer, primary_key=True)
    parent = Column(ForeignKey("parents.id"))


@pytest.mark.promise("DB-11")
@pytest.mark.parametrize("loader", ["selectinload", "selectin_polymorphic", "lazy"])
def test_loaders(loader: str, spans: SpanRecorder) -> None:
    """What loads 500 objects a statement is no N+1; what loads one at a time is."""
    engine = create_engine("sqlite://")
    base.metadata.create_all(engine)
    with Session(engine) as session:
        for number in range(1_100):
            session.add(Special(id=number, note="x"))
        session.commit()
    instrument_sqlalchemy(engine, n_plus_one_threshold=3)
    option = {
        "selectinload": lambda: selectinload(Parent.children),
        "selectin_polymorphic": lambda: selectin_polymorphic(Parent, [Special]),
    }.get(loader)

    query = select(Parent).options(option()) if option else select(Parent).limit(5)
    with Session(engine) as session, tracer.start_as_current_span("job"):
        for parent in session.execute(query).scalars().all():
            if loader == "lazy":
                assert parent.children == []
    engine.dispose()

    assert len(spans) >= 3
    assert [each.name for each in spans.one("job").events] == (
        ["obs.db.n_plus_one"] if loader == "lazy" else []
    )


@pytest.mark.promise("DB-03")
def test_parameters_that_look_secret(database: Any, spans: SpanRecorder) -> None:
    """A parameter whose name looks secret is masked on every paramstyle, in lists too."""
    instrument_sqlalchemy(capture_parameters=True)
    sql = (
        "SELECT id FROM obs_db_things WHERE name IN :names AND size = :password AND colour IN "
        ":api_tokens AND name = :last"
    )
    query = text(sql).bindparams(
        bindparam("names", expanding=True), bindparam("api_tokens", expanding=True)
    )
    values = {
        "names": ["ada", "grace"],
        "password": "sesame",
        "api_tokens": ["sesame1", "sesame2"],
        "last": "plain",
    }

    database.run(with_table(lambda connection: connection.execute(query, values)))

    parameters = {
        key: value
        for key, value in told(spans.one("SELECT obs_db_things")).items()
        if key.startswith("db.query.parameter.")
    }
    assert sorted(parameters.values()) == sorted(
        ["ada", "grace", "[REDACTED]", "[REDACTED]", "[REDACTED]", "plain"]
    )
    assert "sesame" not in "".join(str(span.to_json()) for span in spans)


@pytest.mark.promise("DB-03")
def test_parameters_of_a_column(database: Any, spans: SpanRecorder) -> None:
    """A parameter that SQLAlchemy names after a column is masked as the column would be."""
    instrument_sqlalchemy(capture_parameters=True)
    secrets = Table(
        "obs_db_things", MetaData(), Column("password", String(20)), Column("b", String)
    )

    def work(connection: Connection) -> None:
        with pytest.raises(exc.DBAPIError):
            connection.execute(
                select(secrets.c.b).where(secrets.c.password.in_(["sesame", "sesame"]))
            )
        connection.rollback() if hasattr(connection, "rollback") else None

    database.run(work)

    assert "sesame" not in "".join(str(span.to_json()) for span in spans)


@pytest.mark.promise("DB-03")
def test_parameters_without_a_name(spans: SpanRecorder) -> None:
    """Positional parameters of the driver's own SQL have no names, and are not recorded."""
    engine = create_engine("sqlite://")
    instrument_sqlalchemy(engine, capture_parameters=True)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT ? AS password", ("sesame",))
    engine.dispose()

    assert "sesame" not in str(spans.one("SELECT").to_json())
