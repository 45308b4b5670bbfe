"""The exported form of a SQL statement: operation, table, summary, masked text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from obs_core.integration import NO_FORMER_NAMES, FormerNames, truncate
from opentelemetry.util.types import AttributeValue

from obs_db.sqlalchemy._lists import fold_lists, shorten_lists
from obs_db.sqlalchemy._tokens import Token, tokens

MAX_TEXT_BYTES = 2048
_MAX_SUMMARY_BYTES = 255
_MAX_NAME_BYTES = 128
_MAX_PARSED_CHARS = 16_384
_MAX_SHORTENED_CHARS = 524_288
_MAX_CACHED_CHARS = 8_192
_MAX_TOKENS_FOR_NAMES = 2_000

_QUERY_WORDS = frozenset({"SELECT", "DELETE", "INSERT", "MERGE", "UPDATE"})
_BEFORE_TABLE = frozenset({"JOIN", "INTO", "TABLE"})
_TAKES_TABLE = frozenset({"UPDATE", "TRUNCATE", "CALL", "COPY"})
_BEFORE_CLAUSE = frozenset({"FOR", "ON", "DO", "."})
_SKIPPED = frozenset(
    {
        "ONLY",
        "LATERAL",
        "IF",
        "NOT",
        "EXISTS",
        "IGNORE",
        "LOW_PRIORITY",
        "DELAYED",
        "TABLE",
    }
)
_NO_TABLE = frozenset({"SELECT", "SET", "VALUES", "WHERE", "ON", "AS", "OUTFILE"})


@dataclass(frozen=True, slots=True)
class Statement:
    """The exported form of a SQL statement; each part is None or empty if absent.

    Attributes:
        operation: The first word that says the action, in upper case.
        table: The table of the operation, as written, without quotes.
        summary: Each operation and the tables, at most 255 bytes.
        text: The statement without comments, every literal a ``?``, at most 2 KiB.
        name: The span's name: ``{OPERATION} {table}``, without absent parts.
        attributes: Operation, table, summary and text under their names in the semantic conventions.
    """

    operation: str | None = None
    table: str | None = None
    summary: str = ""
    text: str = ""
    name: str | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


def describe(
    sql: object, dialect: str, former_names: FormerNames = NO_FORMER_NAMES
) -> Statement:
    """Return the exported form of `sql`, with `former_names` in addition.

    Never raises; for anything but text, the form is empty. The last 512 statements of up to 8 KiB are
    remembered; only the first 16 KiB of a statement are read, lists of placeholders and numbers not
    counted. Thread-safe.
    """
    if type(sql) is str and len(sql) <= _MAX_CACHED_CHARS:
        return _cached(sql, dialect, former_names)
    if isinstance(sql, bytes):
        sql = sql.decode("utf-8", "replace")
    if not isinstance(sql, str):
        return Statement()
    if len(sql) > _MAX_CACHED_CHARS:
        sql = shorten_lists(sql[:_MAX_SHORTENED_CHARS])
    if len(sql) <= _MAX_CACHED_CHARS:
        return _cached(sql, dialect, former_names)
    return _parse(sql[:_MAX_PARSED_CHARS], dialect, former_names)


def _parse(sql: str, dialect: str, former_names: FormerNames) -> Statement:
    found = list(tokens(sql, dialect))
    reader = _Reader()
    for token in islice(
        (token for token in found if token.kind != "space"), _MAX_TOKENS_FOR_NAMES
    ):
        reader.read(token)
    reader.close()
    names = [reader.operation(), reader.table()]
    operation, table = (name and truncate(name, _MAX_NAME_BYTES) for name in names)
    name = f"{operation} {table}" if operation and table else operation
    statement = Statement(operation, table, reader.summary(), _text(found), name)
    return replace(statement, attributes=former_names.added_to(_attributes(statement)))


def _attributes(statement: Statement) -> dict[str, AttributeValue]:
    told = {
        "db.operation.name": statement.operation,
        "db.collection.name": statement.table,
        "db.query.summary": statement.summary,
        "db.query.text": statement.text,
    }
    return {key: value for key, value in told.items() if value}


_cached = lru_cache(maxsize=512)(_parse)


def _text(found: list[Token]) -> str:
    joined = " ".join("".join(token.text for token in found).split())
    return truncate(fold_lists(joined), MAX_TEXT_BYTES)


class _Found(NamedTuple):
    """An operation or a table, and the number of parentheses around."""

    depth: int
    kind: str
    text: str


def _outermost(found: Iterable[_Found]) -> str | None:
    """Return the first text of those with the fewest parentheses around."""
    outermost = min(found, key=lambda each: each.depth, default=None)
    return outermost and outermost.text


class _Reader:
    """Walks over the tokens once; collects operations and tables with their depth in parentheses."""

    def __init__(self) -> None:
        self._found: list[_Found] = []
        self._local_names: set[str] = set()
        self._is_query = [False]
        self._name: list[str] | None = None
        self._before = self._first = ""

    def read(self, token: Token) -> None:
        """Take in the next token; spaces are left out."""
        is_word = token.kind == "word"
        word = token.text.upper() if is_word else token.text
        if self._name is not None and self._continue_name(self._name, token, word):
            return
        if word == "(":
            self._is_query.append(False)
        elif word == ")" and len(self._is_query) > 1:
            self._is_query.pop()
        elif is_word:
            self._keyword(word)
        self._before = word

    def _continue_name(self, name: list[str], token: Token, word: str) -> bool:
        """Take the token into the table's name, if part of the name."""
        awaits_part = not name or name[-1] == "."
        if awaits_part and token.kind in ("word", "name") and word not in _NO_TABLE:
            if name or word not in _SKIPPED:
                name.append(token.text.strip('"`'))
            return True
        if token.text == "." and name:
            name.append(".")
            return True
        is_function = token.text == "(" and self._before == "FROM"
        if not awaits_part and not is_function:
            self._add("table", "".join(name))
        self._name = None
        return False

    def close(self) -> None:
        """Take in the name that ends the statement."""
        if self._name:
            self._add("table", "".join(self._name))

    def _add(self, kind: str, text: str) -> None:
        self._found.append(_Found(len(self._is_query), kind, text))

    def _keyword(self, word: str) -> None:
        if not self._first:
            self._first = word
            self._begin(word)
        elif word in _QUERY_WORDS and self._before not in _BEFORE_CLAUSE:
            self._begin(word)
        elif self._is_naming_ctes():
            self._local_names.add(word)
        elif self._introduces_table(word):
            self._name = []

    def _begin(self, operation: str) -> None:
        self._is_query[-1] = True
        if operation != "WITH":
            self._add("operation", operation)
        if operation in _TAKES_TABLE:
            self._name = []

    def _is_naming_ctes(self) -> bool:
        if self._first != "WITH" or len(self._is_query) > 1:
            return False
        return all(each.depth > 1 for each in self._found)

    def _introduces_table(self, word: str) -> bool:
        if word == "FROM":
            return self._is_query[-1] and self._before != "DISTINCT"
        return word in _BEFORE_TABLE or (
            word == "ON" and self._first in ("CREATE", "DROP")
        )

    def operation(self) -> str | None:
        """Return the statement's own operation, if any."""
        operations = (each for each in self._found if each.kind == "operation")
        return _outermost(operations) or self._first or None

    def table(self) -> str | None:
        """Return the table of the operation: preferably outside parentheses, never the name of a CTE."""
        return _outermost(each for each in self._shown() if each.kind == "table")

    def summary(self) -> str:
        """Return operations and tables in the order of the text."""
        shown = " ".join(each.text for each in self._shown())
        return truncate(shown or self._first, _MAX_SUMMARY_BYTES)

    def _shown(self) -> Iterator[_Found]:
        for each in self._found:
            if each.kind == "operation" or each.text.upper() not in self._local_names:
                yield each
