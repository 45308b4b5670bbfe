"""Lists of values in SQL text, folded: the text is the same for any number of values."""

from __future__ import annotations

import re

_PLACEHOLDER = r"%s|%\(\w+\)s|[:@$](?:\w+|\?)|(?:[a-z_]\w{0,31}\s?)?\?"
_KEYWORD = r"(?:NULL|DEFAULT|TRUE|FALSE|CURRENT_\w+)\b"
# a statement of which only the beginning is read may end inside a list
_CUT = r"[^()]*(?:\([^()]*)?\Z"
_NUMBERED = re.compile(r"(?<![:\w?])[:$](?:\d+|\?)")


def _nested(plain: str, other: str, levels: int) -> str:
    """Return a pattern of `plain` characters, `other` tokens, and parentheses up to `levels` deep.

    Each alternative begins with a different character: matching takes linear time.
    """
    alternatives = other
    if levels:
        alternatives += rf"|\({_nested(plain, other, levels - 1)}\)"
    return rf"{plain}*(?:(?:{alternatives}){plain}*)*"


def _list_pattern(plain: str, other: str) -> re.Pattern[str]:
    """Return the pattern of an ``IN`` or ``VALUES`` and the list behind.

    The first item is a value, and no query or column.
    """
    in_call, in_row, in_list = (_nested(plain, other, levels) for levels in (2, 3, 4))
    call = rf"[a-z_][\w.]*\s?(?:\({in_call}\)|\[{plain}*\])"
    number = r"\d[\w.]*(?:[-+]\d+)?"
    value = rf"[-+]?(?:{_PLACEHOLDER}|{_KEYWORD}|{call}|{number})(?=\s*(?:,|\)|::|\Z))"
    row = rf"(?:ROW\s?)?\(\s?{value}{in_row}\)"
    rows = rf"{row}(?:\s*,\s*(?:ROW\s?)?\({in_row}\))*(?:\s*,{_CUT})?"
    values = rf"(?:{value}|(?=\(){row}){in_list}(?:\)|{_CUT})"
    return re.compile(rf"\b(?:(IN)\s*\(\s*{values}|(VALUES)\s*{rows})", re.IGNORECASE)


_MASKED = _list_pattern("[^()]", "(?!)")
# quotes, comment signs and escapes must stay until literals are masked
_RAW = _list_pattern(r"""[^()'"`\\/#$-]""", r'\$\d+|-(?=\d)|(?<=::)"\w+"')


def fold_lists(text: str) -> str:
    """Write ``(?)`` for each list of an ``IN`` and for all rows of a ``VALUES`` in masked text.

    Numbered placeholders then become ``?`` too: the numbers behind a list depend on the list's length.
    """
    folded, count = _MASKED.subn(_folded, text)
    if count == 0:
        return text
    return _NUMBERED.sub("?", folded)


def shorten_lists(sql: str) -> str:
    """Fold those lists of a statement that hold placeholders and numbers alone."""
    return _RAW.sub(_folded, sql)


def _folded(found: re.Match[str]) -> str:
    return f"{found.group(1) or found.group(2)} (?)"
