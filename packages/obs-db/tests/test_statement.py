"""What is told of a statement: its operation, table, summary and masked text."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obs_core.testing import record_spans
from obs_db import instrument_sqlalchemy
from obs_db.sqlalchemy._statement import MAX_TEXT_BYTES, describe
from opentelemetry import trace
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

MARK = "zqsecret"
NUMBER = 7192834650  # longer than what the microseconds of a time or the digits of an id can hold by chance

_noise = st.text(alphabet="ab'\"\\`-#/*$?:%;[]()\n €", max_size=12)
_values = st.tuples(_noise, _noise).map(lambda ends: ends[0] + MARK + ends[1])


def _doubled(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _backslashed(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _double_quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _dollar_quoted(value: str) -> str:
    return f"$q7$ {value} $q7$"


def _numeric(value: str) -> str:
    return f"{NUMBER}{len(value)}.5e-{NUMBER}"


def _hex(value: str) -> str:
    return f"X'{value.encode().hex()}'"


SPELLINGS: dict[str, tuple[Callable[[str], str], ...]] = {
    "sqlite": (
        _doubled,
        _numeric,
        _hex,
        lambda value: '"' + value.replace('"', '""') + '"',
    ),
    "postgresql": (
        _doubled,
        _numeric,
        _dollar_quoted,
        lambda value: "E" + _backslashed(value),
    ),
    "mysql": (
        _backslashed,
        _double_quoted,
        _numeric,
        lambda value: "_utf8" + _doubled(value.replace("\\", "\\\\")),
    ),
    "oracle": (
        _doubled,
        _numeric,
        lambda value: "q'{" + value.replace("}'", "") + "}'",
    ),
    "unheard_of": (_doubled, _backslashed, _numeric, _double_quoted),
}

_TEMPLATES = (
    "SELECT {0}, id FROM users WHERE name = {1} AND city <> {2}",
    "SELECT id FROM users WHERE name IN ({0}, {1}, {2}) -- it's {{a}} note\nLIMIT 5",
    "INSERT INTO users (id, name) VALUES ({0}, {1}), (NULL, {2})",
    "UPDATE users SET name = {0} /* don't {{x}} */ WHERE id = {1} OR name = {2}",
    "WITH u AS (SELECT {0} AS a) SELECT * FROM u WHERE a LIKE {1} || {2}",
    "DELETE FROM users WHERE name={0}AND id={1}OR id={2}",
    "CREATE TABLE t_{{n}} (a VARCHAR(20) DEFAULT {0}, b VARCHAR(20) DEFAULT {1}, CHECK (a <> {2}))",
    "SELECT no_such_function({0}, {1}) FROM nowhere WHERE {2}",
)


@st.composite
def statements(draw: st.DrawFn, dialect: str) -> str:
    """A statement in `dialect` with three literals."""
    template = draw(st.sampled_from(_TEMPLATES))
    literals = [
        draw(st.sampled_from(SPELLINGS[dialect]))(draw(_values)) for _ in range(3)
    ]
    return template.format(*literals)


def leaks(exported: str) -> list[str]:
    """Return what of the literals is in `exported`."""
    return [
        secret
        for secret in (MARK, MARK.encode().hex(), str(NUMBER))
        if secret in exported
    ]


_NAMELESS = [
    "",
    " ",
    "-- only",
    "/* only",
    "/* only */",
    "'",
    '"',
    ";",
    "(((",
    "WITH",
    "FROM",
    "SELECT FROM",
    b"\xff\xfe",
    None,
]
_PIECES = [
    "SELECT '" + "x" * 99,
    "SELECT 1,",
    "/*",
    "$a$",
    '"',
    "[",
    "-- a\n",
    "(",
    "$a",
    "'",
    "`",
    "#",
    "\\'",
]

CASES = [
    (
        "sqlite",
        "SELECT users.id FROM users WHERE users.id = ?",
        "SELECT users",
        "SELECT users",
    ),
    (
        "sqlite",
        'SELECT "user".id FROM "user" WHERE "user".x = "v"',
        "SELECT user",
        "SELECT user",
    ),
    (
        "postgresql",
        'INSERT INTO "Order" (a) VALUES (1)',
        "INSERT Order",
        "INSERT Order",
    ),
    (
        "postgresql",
        "INSERT INTO public.a SELECT 1 FROM b o JOIN c ON true",
        "INSERT public.a",
        "INSERT public.a SELECT b c",
    ),
    (
        "postgresql",
        "WITH r AS (SELECT * FROM orders) SELECT * FROM r",
        "SELECT orders",
        "SELECT orders SELECT",
    ),
    (
        "sqlite",
        "WITH RECURSIVE c(x) AS (SELECT 1) SELECT * FROM c",
        "SELECT",
        "SELECT SELECT",
    ),
    (
        "postgresql",
        "WITH g AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT 1 FROM g",
        "INSERT b",
        "DELETE a INSERT b SELECT",
    ),
    ("mysql", "UPDATE `users` SET a = 1", "UPDATE users", "UPDATE users"),
    (
        "postgresql",
        "SELECT EXTRACT(year FROM created) FROM orders",
        "SELECT orders",
        "SELECT orders",
    ),
    (
        "postgresql",
        "SELECT (SELECT max(a) FROM i) FROM o",
        "SELECT o",
        "SELECT SELECT i o",
    ),
    (
        "postgresql",
        "SELECT a FROM t WHERE b IS DISTINCT FROM c FOR UPDATE",
        "SELECT t",
        "SELECT t",
    ),
    ("postgresql", "SELECT * FROM generate_series(1, 5)", "SELECT", "SELECT"),
    (
        "postgresql",
        "(SELECT a FROM b) UNION (SELECT c FROM d)",
        "SELECT b",
        "SELECT b SELECT d",
    ),
    (
        "postgresql",
        "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2",
        "INSERT t",
        "INSERT t",
    ),
    ("sqlite", "INSERT OR REPLACE INTO kv VALUES (1)", "INSERT kv", "INSERT kv"),
    (
        "postgresql",
        "CREATE TABLE IF NOT EXISTS foo (id int)",
        "CREATE foo",
        "CREATE foo",
    ),
    ("postgresql", "CREATE INDEX ix ON foo (id)", "CREATE foo", "CREATE foo"),
    ("postgresql", "TRUNCATE TABLE foo, bar", "TRUNCATE foo", "TRUNCATE foo"),
    ("sqlite", "/* a */ -- b\nselect 1 from t", "SELECT t", "SELECT t"),
    ("sqlite", "BEGIN", "BEGIN", "BEGIN"),
]


@pytest.mark.promise("DB-04")
@pytest.mark.parametrize(("dialect", "sql", "name", "summary"), CASES)
def test_names(dialect: str, sql: str, name: str, summary: str) -> None:
    """The name is the operation, in one word, and the table; the summary has all operations and tables."""
    statement = describe(sql, dialect)

    assert (statement.name, statement.summary) == (name, summary)
    assert statement.operation is not None
    assert len(statement.operation.split()) == 1


@pytest.mark.promise("DB-03")
@pytest.mark.parametrize(
    ("dialect", "sql", "text"),
    [
        (
            "postgresql",
            "SELECT $1::int, 5, 'a''b', E'x' FROM t1",
            "SELECT $1::int, ?, ?, ? FROM t1",
        ),
        ("mssql", "SELECT $100.50, [a].b FROM [t]", "SELECT $?.?, [a].b FROM [t]"),
        (
            "mysql",
            "SELECT \"it\" FROM `t` WHERE a = 'x'",
            "SELECT ? FROM `t` WHERE a = ?",
        ),
        (
            "sqlite",
            "SELECT a /* it's */ FROM t -- 'x'\nWHERE b IS TRUE",
            "SELECT a FROM t WHERE b IS ?",
        ),
        (
            "sqlite",
            "SELECT a FROM t WHERE id IN (?, ?, ?)",
            "SELECT a FROM t WHERE id IN (?)",
        ),
        ("sqlite", "INSERT INTO t VALUES (?, ?), (?, ?)", "INSERT INTO t VALUES (?)"),
        ("mysql", r"SELECT 'it\'s', 'secret' FROM t", "SELECT ?"),
        ("oracle", "SELECT q'[it's]', 'x' FROM t", "SELECT ?"),
        ("mysql", "SELECT a # it's\n, 'x' FROM t", "SELECT a ?"),
        ("postgresql", "SELECT a /* x /* y */ it's */ , 'x'", "SELECT a ?"),
        ("postgresql", "SELECT $a$ it's $b$ $a$, b FROM t", "SELECT ?, b FROM t"),
        ("sqlite", "SELECT 'never closed", "SELECT ?"),
        ("postgresql", "SELECT 1e-5, 2.5E+10 FROM t", "SELECT ?, ? FROM t"),
    ],
)
def test_text_is_masked(dialect: str, sql: str, text: str) -> None:
    """Literals become ``?``, comments go; where dialects disagree about a literal's end, the rest goes too."""
    assert describe(sql, dialect).text == text


@pytest.mark.promise("DB-03")
@pytest.mark.soak
@pytest.mark.parametrize("dialect", sorted(SPELLINGS))
def test_no_literal_of_a_thousand_statements(dialect: str) -> None:
    """Nothing of a literal is in anything told of a statement, however the dialect spells literals."""

    @settings(max_examples=1000, deadline=None, database=None)
    @given(statements(dialect))
    def check(sql: str) -> None:
        statement = describe(sql, dialect)
        assert leaks(repr(statement)) == []

    check()


@pytest.mark.promise("DB-03")
def test_no_literal_of_a_thousand_statements_is_exported(engine: Engine) -> None:
    """Run on a real engine, well or badly, with every event there is, no statement's literal is in any exported string."""
    instrument_sqlalchemy(engine, slow_threshold_s=0.0, n_plus_one_threshold=2)

    @settings(max_examples=1000, deadline=None, database=None)
    @given(statements("sqlite"))
    def check(sql: str) -> None:
        with record_spans() as spans:
            with (
                trace.get_tracer("test").start_as_current_span("request"),
                engine.begin() as connection,
            ):
                for _ in range(2):
                    with suppress(SQLAlchemyError):
                        connection.exec_driver_sql(sql)
            assert len(spans) == 3
            assert leaks("".join(span.to_json() for span in spans)) == []

    check()


@pytest.mark.promise("DB-03")
@settings(max_examples=500, deadline=None, database=None)
@given(
    st.one_of(st.text(), st.binary(), st.none(), st.lists(st.text())),
    st.sampled_from(["sqlite", "mysql", "x"]),
)
def test_nothing_raises(sql: object, dialect: str) -> None:
    """Whatever stands where SQL should, it is described, and small."""
    statement = describe(sql, dialect)

    assert len(statement.text.encode()) <= MAX_TEXT_BYTES
    assert len((statement.name or "").encode()) <= 260


@pytest.mark.promise("DB-03")
@pytest.mark.parametrize("sql", _NAMELESS)
def test_statements_without_a_name(sql: object) -> None:
    """Comment-only, empty, cut and undecodable SQL has no table and raises nothing."""
    assert describe(sql, "sqlite").table is None


def cpu_s(sql: str) -> float:
    """Return the CPU time of reading a statement that was not read before."""
    started = time.thread_time()
    describe(sql, "mysql")
    return time.thread_time() - started


@pytest.mark.promise("DB-03")
@pytest.mark.parametrize("piece", _PIECES)
def test_a_megabyte_is_read_in_part(piece: str) -> None:
    """A statement of a megabyte costs no more than its first 16 KiB, and its text stays within 2 KiB."""
    sql = piece * (1_000_000 // len(piece))
    # of three, since a garbage collection of all that other tests keep may fall into one
    assert min(cpu_s(sql + " " * number) for number in range(3)) < 1.0
    assert len(describe(sql, "mysql").text.encode()) <= MAX_TEXT_BYTES
