"""The search's language: words, "phrases", ``key=value``, comparisons, and ``-`` for negation."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_TERM = re.compile(
    r"""(?P<not>-|!)?
        (?:(?P<key>[^\s"=<>!]+)(?P<operator>!=|>=|<=|=|>|<))?
        (?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s"]+))""",
    re.VERBOSE,
)
# a comparison with nothing to compare with
_HALF = re.compile(r"""[^\s"=<>!]+(!=|>=|<=|=|>|<)""")


class QueryError(ValueError):
    """A part of the search that cannot be understood; the message says which, and the right form."""


class Term(NamedTuple):
    """A condition: a word if `key` is empty."""

    key: str
    operator: str
    value: str
    negated: bool


def terms(text: str) -> Iterator[Term]:
    """Yield the conditions of a search.

    Raises:
        QueryError: A part of the search cannot be understood.
    """
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        match = _TERM.match(text, position)
        if match is None or _HALF.fullmatch(match[0]):
            raise QueryError(_complaint(text[position:]))
        position = match.end()
        yield _term(match)


def _term(match: re.Match[str]) -> Term:
    value, sign = match["plain"] or "", match["operator"] or ""
    if match["quoted"] is not None:
        value = re.sub(r"\\(.)", r"\1", match["quoted"])
    return Term(
        match["key"] or "",
        sign.replace("!=", "="),
        value,
        bool(match["not"]) ^ (sign == "!="),
    )


def _complaint(rest: str) -> str:
    part = rest.split()[0]
    if rest.count('"') % 2:
        return f"{part!r}: the quote is not closed"
    return (
        f'{part!r} is not understood: write words, "a phrase", key=value, key>=5, -word'
    )
