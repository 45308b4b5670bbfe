"""SQL text into tokens, with every literal masked, without knowing the dialect's grammar.

Where dialects disagree about the end of a literal (a backslash before a quote, a quote in a nested
or odd comment, Oracle's ``q'``), the rest of the statement is masked: better a short text than a
leaked value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

MASK = "?"

_QUOTES_ARE_NAMES = frozenset(
    {"postgresql", "cockroachdb", "redshift", "oracle", "mssql", "snowflake"}
)
_QUOTES_MAY_BE_NAMES = frozenset({"sqlite"})
_POSTGRES = frozenset({"postgresql", "cockroachdb", "redshift"})
_BEFORE_A_NAME = frozenset(
    {"FROM", "JOIN", "INTO", "UPDATE", "TABLE", "EXISTS", "AS", "."}
)

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


_MASK = Token("mask", MASK)
_SPACE = Token("space", " ")
#: In place of a token from which on nothing is certain: the rest of the statement is masked.
_UNCERTAIN = Token("uncertain", MASK)


class _Lexeme(NamedTuple):
    """A match of the pattern in its surroundings."""

    text: str
    #: The text of the token before, in upper case.
    before: str
    sql: str
    end: int
    dialect: str


def tokens(sql: str, dialect: str) -> Iterator[Token]:
    """Yield the tokens of `sql` with comments left out and literals masked.

    `dialect` is SQLAlchemy's name of the dialect.
    """
    before, position = "", 0
    while match := _TOKEN.match(sql, position):
        kind, text = match.lastgroup or "other", match.group()
        lexeme = _Lexeme(text, before, sql, match.end(), dialect)
        token = _read(kind, lexeme)
        if token is _UNCERTAIN:
            yield _MASK
            return
        position = match.end()
        if kind == "dollar":
            position = sql.index(text, position) + len(text)
        if token.kind != "space":
            before = token.text.upper()
        yield token


def _read(kind: str, lexeme: _Lexeme) -> Token:
    rule = _RULES.get(kind)
    return Token(kind, lexeme.text) if rule is None else rule(lexeme)


def _comment(lexeme: _Lexeme) -> Token:
    if _is_odd_comment(lexeme.text):
        return _UNCERTAIN
    return _SPACE


def _is_odd_comment(text: str) -> bool:
    if text.startswith("--"):
        return text[2:3] not in ("", " ", "\t", "\r") and _holds_quote(text)
    return "/*" in text[2:]


def _dollar_quoted(lexeme: _Lexeme) -> Token:
    is_closed = lexeme.sql.find(lexeme.text, lexeme.end) >= 0
    return _masked(is_certain=is_closed)


def _string(lexeme: _Lexeme) -> Token:
    return _masked(is_certain="\\'" not in lexeme.text)


def _masked(*, is_certain: bool) -> Token:
    return _MASK if is_certain else _UNCERTAIN


def _double_quoted(lexeme: _Lexeme) -> Token:
    if lexeme.dialect in _QUOTES_ARE_NAMES:
        return Token("name", lexeme.text)
    if '\\"' in lexeme.text:
        return _UNCERTAIN
    is_placed_as_name = lexeme.before in _BEFORE_A_NAME or lexeme.sql.startswith(
        ".", lexeme.end
    )
    if is_placed_as_name and lexeme.dialect in _QUOTES_MAY_BE_NAMES:
        return Token("name", lexeme.text)
    return _MASK


def _quoted_name(lexeme: _Lexeme) -> Token:
    if _holds_quote(lexeme.text):
        return _UNCERTAIN
    return Token("name", lexeme.text)


def _hash(lexeme: _Lexeme) -> Token:
    # MySQL's comment, PostgreSQL's operator, SQL Server's temporary tables
    rest = lexeme.sql[lexeme.end :].partition("\n")[0]
    if lexeme.dialect not in _POSTGRES and _holds_quote(rest):
        return _UNCERTAIN
    return Token("other", "#")


def _numbered(lexeme: _Lexeme) -> Token:
    if lexeme.dialect in _POSTGRES:
        return Token("other", lexeme.text)
    return Token("other", "$" + MASK)


def _word(lexeme: _Lexeme) -> Token:
    if lexeme.text.upper() in _LITERAL_WORDS:
        return _MASK
    return Token("word", lexeme.text)


def _holds_quote(text: str) -> bool:
    return "'" in text or '"' in text


#: By the pattern's group; a kind without a rule is shown as it is.
_RULES: Mapping[str, Callable[[_Lexeme], Token]] = {
    "space": lambda lexeme: _SPACE,
    "comment": _comment,
    "oracle": lambda lexeme: _UNCERTAIN,
    "dollar": _dollar_quoted,
    "string": _string,
    "double": _double_quoted,
    "name": _quoted_name,
    "hash": _hash,
    "numbered": _numbered,
    "word": _word,
    "number": lambda lexeme: _MASK,
}
