"""Names and name patterns given by the user, as one compiled pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

_NOTHING = r"(?!)"


class Globs:
    """Names and globs (``*``, ``?``, ``[a-z]``), each matching a whole name, with regard to case. Immutable.

    Args:
        patterns: Checked before, for instance by `check_names`.
    """

    __slots__ = ("_match", "patterns")

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self.patterns: tuple[str, ...] = tuple(patterns)
        expressions = "|".join(map(translate, self.patterns))
        self._match = re.compile(expressions or _NOTHING).match

    def matches(self, name: str) -> bool:
        """Whether any of the patterns matches the whole of `name`."""
        return self._match(name) is not None

    def __bool__(self) -> bool:
        return bool(self.patterns)
