"""Several regular expressions as a single pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence


def any_of(expressions: Sequence[str], flags: int = 0) -> re.Pattern[str] | None:
    """Return a pattern that matches any of `expressions`; None without expressions."""
    if not expressions:
        return None
    return re.compile("|".join(expressions), flags)
