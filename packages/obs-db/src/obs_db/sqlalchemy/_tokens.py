"""SQL text into tokens, with every literal masked, without knowing the dialect's grammar.

Where dialects disagree about the end of a literal (a backslash before a quote, a quote in a nested
or odd comment, Oracle's ``q'``), the rest of the statement is masked: better a short text than a
leaked value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

MASK = "?"

_QUOTES_ARE_NAMES = frozenset(
    {"postgresql", "cockroachdb", "redshift", "oracle", "mssql", "snowflake"}
)
_QUOTES_MAY_BE_NAMES = frozenset({"sqlite"})
_POSTGRES = frozenset({"postgresql", "cockroachdb", "redshift"})
_BEFORE_A_NAME = frozenset({"FROM", "JOIN", "INTO", "UPDATE", "TABLE", "EXISTS", "AS", "."})

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
    | (?P<oracle>[nN]?[qQ]')
    | (?P<dollar>\$(?:[^\W\d]\w*)?\$)
    | (?P<string>(?:[xXbBnNeE]|[uU]&)?'[^']*(?:''[^']*)*(?:'|\Z))
    | (?P<double>"[^"]*(?:""[^"]*)*(?:"|\Z))
    | (?P<name>`[^`]*(?:`|\Z)|\[[^\]'"\[]*['"][^\]]*(?:\]|\Z))
    | (?P<hash>\#)
    | (?P<numbered>\$\d+)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<number>\d[\w.]*(?:(?<=[eE])[+-]\d+)?)
    | (?P<other>.)
    """,
    re.DOTALL | re.VERBOSE,
)
_LITERAL_WORDS = frozenset({"TRUE", "FALSE"})


class Token(NamedTuple):
    """A piece of SQL that may be exported: `kind` is word, name (quoted), mask, space or other."""

    kind: str
    text: str


def tokens(sql: str, dialect: str) -> Iterator[Token]:
    """Yield the tokens of `sql` with comments left out and literals masked.

    `dialect` is SQLAlchemy's name of the dialect.
    """
    before, position = "", 0
    while match := _TOKEN.match(sql, position):
        kind, text, position = match.lastgroup or "other", match.group(), match.end()
        token = (
            _dollar_quoted(sql, match)
            if kind == "dollar"
            else _judge(kind, text, before, sql, position, dialect)
        )
        if token is None:
            yield Token("mask", MASK)
            return
        if kind == "dollar":
            position = sql.index(text, position) + len(text)
        if token.kind != "space":
            before = token.text.upper()
        yield token


def _judge(kind: str, text: str, before: str, sql: str, end: int, dialect: str) -> Token | None:
    """Return the text to show for this token; None: from here on, nothing is certain."""
    if kind == "space":
        return Token("space", " ")
    if kind == "comment":
        return None if _is_odd_comment(text) else Token("space", " ")
    if kind == "oracle":
        return None
    if kind == "string":
        return None if "\\'" in text else Token("mask", MASK)
    if kind == "double":
        return _double_quoted(text, before, sql[end : end + 1], dialect)
    if kind == "name":
        return None if "'" in text or '"' in text else Token("name", text)
    if kind == "hash":
        return _hash(sql, end, dialect)
    if kind == "numbered":
        return Token("other", text if dialect in _POSTGRES else "$" + MASK)
    if kind == "number" or (kind == "word" and text.upper() in _LITERAL_WORDS):
        return Token("mask", MASK)
    return Token(kind, text)


def _is_odd_comment(text: str) -> bool:
    if text.startswith("--"):
        return text[2:3] not in ("", " ", "\t", "\r") and ("'" in text or '"' in text)
    return "/*" in text[2:]


def _double_quoted(text: str, before: str, after: str, dialect: str) -> Token | None:
    if dialect in _QUOTES_ARE_NAMES:
        return Token("name", text)
    if '\\"' in text:
        return None
    is_name = dialect in _QUOTES_MAY_BE_NAMES and (before in _BEFORE_A_NAME or after == ".")
    return Token("name", text) if is_name else Token("mask", MASK)


def _hash(sql: str, end: int, dialect: str) -> Token | None:
    # MySQL's comment, PostgreSQL's operator, SQL Server's temporary tables
    rest = sql[end:].partition("\n")[0]
    return (
        None if dialect not in _POSTGRES and ("'" in rest or '"' in rest) else Token("other", "#")
    )


def _dollar_quoted(sql: str, opening: re.Match[str]) -> Token | None:
    return Token("mask", MASK) if sql.find(opening.group(), opening.end()) >= 0 else None
