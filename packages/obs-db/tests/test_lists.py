"""Lists of values in SQL text: one text for every length, paramstyle and cast."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from obs_db.sqlalchemy._statement import describe

PLACEHOLDERS: dict[str, Callable[[int], str]] = {
    "qmark": lambda _: "?",
    "format": lambda _: "%s",
    "pyformat": lambda number: f"%(x_1_{number})s",
    "named": lambda number: f":x_{number}",
    "numeric": lambda number: f":{number + 2}",
    "numeric_dollar": lambda number: f"${number + 2}",
    "sql_server": lambda number: f"@p{number}",
    "number": str,
    "negative": lambda number: f"-{number}",
    "fraction": lambda number: f"{number}.5e-{number}",
    "literal": lambda number: f"'it{number}'",
    "typed_literal": lambda number: f"DATE '2020-01-{number}'",
    "null": lambda _: "NULL",
    "call": lambda number: f"lower(%(x_{number})s)",
    "call_of_call": lambda number: f"coalesce(lower(?), {number})",
    "sql_cast": lambda _: "CAST(? AS NVARCHAR(max))",
    "array": lambda number: f"ARRAY[{number}, ?]",
}
CASTS = (
    "",
    "::INTEGER",
    "::VARCHAR[]",
    "::TIMESTAMP WITHOUT TIME ZONE",
    "::NUMERIC(10, 2)",
    "::public.mood",
    '::"mood"',
)
LENGTHS = (1, 2, 3, 12, 1_000)
#: Of these the first 16 KiB are read.
LITERALS = ("literal", "typed_literal")


def listed(style: str, cast: str, length: int) -> list[str]:
    return [f"{PLACEHOLDERS[style](number)}{cast}" for number in range(1, length + 1)]


def texts(template: str, style: str, values: Callable[[int], list[str]]) -> set[str]:
    lengths = LENGTHS[:-1] if style in LITERALS else LENGTHS
    statements = [template.format(", ".join(values(length))) for length in lengths]
    return {describe(sql, "postgresql").text for sql in statements}


@pytest.mark.promise("DB-10")
@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize("style", PLACEHOLDERS)
def test_in(style: str, cast: str) -> None:
    """An IN list is one text, whatever its length, and what stands around it is kept."""
    found = texts(
        "SELECT a FROM t WHERE a IN ({}) AND b = 'x'",
        style,
        lambda length: listed(style, cast, length),
    )

    assert found == {"SELECT a FROM t WHERE a IN (?) AND b = ?"}


@pytest.mark.promise("DB-10")
@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize("style", PLACEHOLDERS)
def test_values(style: str, cast: str) -> None:
    """The rows of VALUES are one text, whatever their number."""
    found = texts(
        "INSERT INTO t (a, b) VALUES {} RETURNING t.id",
        style,
        lambda length: [f"({value}, now())" for value in listed(style, cast, length)],
    )

    assert found == {"INSERT INTO t (a, b) VALUES (?) RETURNING t.id"}


@pytest.mark.promise("DB-10")
@pytest.mark.parametrize("style", PLACEHOLDERS)
@pytest.mark.parametrize("template", ["({0}, {0})", "ROW({0}, {0})"])
def test_rows(template: str, style: str) -> None:
    """So are lists of rows."""
    found = texts(
        "SELECT a FROM t WHERE (a, b) IN ({})",
        style,
        lambda length: [template.format(value) for value in listed(style, "", length)],
    )

    assert found == {"SELECT a FROM t WHERE (a, b) IN (?)"}


@pytest.mark.promise("DB-10")
@pytest.mark.parametrize("style", LITERALS)
def test_long_lists_of_literals(style: str) -> None:
    """A list of literals that goes on beyond the part that is read is folded as well."""
    found = {
        describe(
            f"SELECT a FROM t WHERE a IN ({', '.join(values)}) AND b = 1", "postgresql"
        ).text
        for values in (listed(style, "", length) for length in (5_000, 6_000, 7_001))
    }

    assert found == {"SELECT a FROM t WHERE a IN (?)"}


@pytest.mark.promise("DB-10")
@pytest.mark.parametrize("sign", ["$", ":"])
def test_numbers_behind_a_list(sign: str) -> None:
    """A placeholder that is numbered behind a list does not show how long the list was."""
    found = {
        describe(
            "SELECT a FROM t WHERE a IN ({}) AND b = {}".format(
                ", ".join(f"{sign}{number}" for number in range(1, length + 1)),
                f"{sign}{length + 1}",
            ),
            "postgresql",
        ).text
        for length in LENGTHS
    }

    assert found == {"SELECT a FROM t WHERE a IN (?) AND b = ?"}


@pytest.mark.promise("DB-10")
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT max(?, ?) FROM t",
        "SELECT a FROM t WHERE a IN (SELECT b FROM u WHERE c = ?)",
        "SELECT a FROM t WHERE ? IN (b, c)",
        "INSERT INTO t (a) VALUES (?) ON DUPLICATE KEY UPDATE a = VALUES(a)",
        "SELECT $1::int FROM t WHERE x = $2",
        "SELECT coin (?, ?) FROM t",
    ],
)
def test_what_is_no_list_of_values(sql: str) -> None:
    """Arguments, queries and lists of columns are kept as they are."""
    assert describe(sql, "postgresql").text == sql


@pytest.mark.promise("DB-03", "DB-10")
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'IN (?, ' || 'sesame'",
        "SELECT a FROM t WHERE a IN (1, 2 -- it's\n, 3) AND b = 'sesame'",
        "SELECT a FROM t WHERE a IN (1 /* ) it's */, 2) AND b = 'sesame'",
        "SELECT $q$ IN (1, $q$, 'sesame $q$ ) $q$'",
        "SELECT a FROM t WHERE a IN (1, \\' 2) AND b = 'sesame'",
        'SELECT " IN (1, " , "sesame) "',
    ],
)
def test_nothing_leaks_out_of_a_long_statement(sql: str) -> None:
    """Folding the lists of a long statement does not change where a literal ends."""
    long = f"{sql} {' ' * 9_000}"

    for dialect in ("postgresql", "mysql", "sqlite"):
        assert "sesame" not in repr(describe(long, dialect))


@pytest.mark.promise("DB-10")
@pytest.mark.parametrize(
    "piece", ["IN (", "VALUES (", "IN (?, ", "VALUES (?), ", "IN (f(", "IN (?::a "]
)
def test_a_megabyte_of_lists(piece: str) -> None:
    """However lists are nested or broken off, reading takes time in proportion to the length."""
    times = []
    for size in (100_000, 400_000):
        started = time.thread_time()
        describe(piece * (size // len(piece)), "postgresql")
        times.append(time.thread_time() - started)

    assert times[1] < 1.0 or times[1] < 12 * times[0]
