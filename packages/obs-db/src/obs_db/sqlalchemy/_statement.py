"""The exported form of a SQL statement: operation, table, summary, masked text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice

from obs_core.integration import truncate
from opentelemetry.util.types import AttributeValue

from obs_db._semconv import SQL, with_former_names
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
    {"ONLY", "LATERAL", "IF", "NOT", "EXISTS", "IGNORE", "LOW_PRIORITY", "DELAYED", "TABLE"}
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


def describe(sql: object, dialect: str, *, former_names: bool = False) -> Statement:
    """Return the exported form of `sql`; with `former_names`, under both sets of names.

    Never raises; for anything but text, the form is empty. The last 512 statements of up to 8 KiB are
    remembered; only the first 16 KiB of a statement are read, lists of placeholders and numbers not
    counted. Thread-safe.
    """
    if not isinstance(sql, str):
        if not isinstance(sql, bytes):
            return Statement()
        sql = sql.decode("utf-8", "replace")
    if len(sql) > _MAX_CACHED_CHARS:
        sql = shorten_lists(sql[:_MAX_SHORTENED_CHARS])
    if len(sql) <= _MAX_CACHED_CHARS:
        return _cached(sql, dialect, former_names)
    return _parse(sql[:_MAX_PARSED_CHARS], dialect, former_names)


def _parse(sql: str, dialect: str, former_names: bool) -> Statement:
    found = list(tokens(sql, dialect))
    reader = _Reader()
    for token in islice((token for token in found if token.kind != "space"), _MAX_TOKENS_FOR_NAMES):
        reader.read(token)
    reader.close()
    operation, table = (
        name and truncate(name, _MAX_NAME_BYTES) for name in (reader.operation, reader.table)
    )
    name = f"{operation} {table}" if operation and table else operation
    statement = Statement(operation, table, reader.summary, _text(found), name)
    attributes = _attributes(statement)
    return replace(
        statement, attributes=with_former_names(attributes, SQL) if former_names else attributes
    )


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


class _Reader:
    """Walks over the tokens once; collects operations and tables with their depth in parentheses."""

    def __init__(self) -> None:
        self._found: list[tuple[int, str, str]] = []
        self._local_names: set[str] = set()
        self._is_query = [False]
        self._name: list[str] | None = None
        self._before = self._first = ""

    def read(self, token: Token) -> None:
        word = token.text.upper() if token.kind == "word" else token.text
        if self._name is not None and self._continue_name(token, word):
            return
        if word == "(":
            self._is_query.append(False)
        elif word == ")" and len(self._is_query) > 1:
            self._is_query.pop()
        elif token.kind == "word":
            self._keyword(word)
        self._before = word

    def _continue_name(self, token: Token, word: str) -> bool:
        """Take the token into the table's name, if part of the name."""
        assert self._name is not None
        expected = not self._name or self._name[-1] == "."
        if expected and token.kind in ("word", "name") and word not in _NO_TABLE:
            if word not in _SKIPPED or self._name:
                self._name.append(token.text.strip('"`'))
            return True
        if token.text == "." and self._name:
            self._name.append(".")
            return True
        if not expected and not (token.text == "(" and self._before == "FROM"):
            self._found.append((len(self._is_query), "table", "".join(self._name)))
        self._name = None
        return False

    def close(self) -> None:
        """Take in the name that ends the statement."""
        if self._name:
            self._found.append((len(self._is_query), "table", "".join(self._name)))

    def _keyword(self, word: str) -> None:
        if not self._first:
            self._first = word
            self._operation(word)
        elif word in _QUERY_WORDS and self._before not in _BEFORE_CLAUSE:
            self._operation(word)
        elif self._is_naming_ctes:
            self._local_names.add(word)
        elif self._introduces_table(word):
            self._name = []

    def _operation(self, word: str) -> None:
        self._is_query[-1] = True
        if word != "WITH":
            self._found.append((len(self._is_query), "operation", word))
        if word in _TAKES_TABLE:
            self._name = []

    @property
    def _is_naming_ctes(self) -> bool:
        at_top = len(self._is_query) == 1
        return at_top and self._first == "WITH" and all(depth > 1 for depth, _, _ in self._found)

    def _introduces_table(self, word: str) -> bool:
        if word == "FROM":
            return self._is_query[-1] and self._before != "DISTINCT"
        return word in _BEFORE_TABLE or (word == "ON" and self._first in ("CREATE", "DROP"))

    @property
    def operation(self) -> str | None:
        """The statement's own operation, if any."""
        operations = [(depth, text) for depth, kind, text in self._found if kind == "operation"]
        return min(operations, key=lambda found: found[0])[1] if operations else self._first or None

    @property
    def table(self) -> str | None:
        """The table of the operation: preferably outside parentheses, never the name of a CTE."""
        tables = [
            (depth, text)
            for depth, kind, text in self._found
            if kind == "table" and not self._is_local(text)
        ]
        return min(tables, key=lambda found: found[0])[1] if tables else None

    def _is_local(self, name: str) -> bool:
        return name.upper() in self._local_names

    @property
    def summary(self) -> str:
        """Operations and tables in the order of the text."""
        shown = [
            text for _, kind, text in self._found if kind == "operation" or not self._is_local(text)
        ]
        return truncate(" ".join(shown) or self._first, _MAX_SUMMARY_BYTES)
