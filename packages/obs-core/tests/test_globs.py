"""Names and name patterns of the user."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given, settings
from hypothesis import strategies as st
from obs_core.integration import Globs

TEXT = st.text("ab.*?[]!\n", max_size=6)


@settings(max_examples=300, deadline=None, database=None)
@given(st.lists(TEXT, max_size=4), TEXT)
def test_matches_as_each_pattern_by_itself(patterns: list[str], name: str) -> None:
    """However many patterns there are, and whatever they hold."""
    globs = Globs(patterns)
    assert globs.matches(name) is any(
        fnmatchcase(name, pattern) for pattern in patterns
    )
    assert bool(globs) is bool(patterns)


def test_matches_whole_names() -> None:
    """``reports.*`` is no part of a name, and case counts."""
    globs = Globs(["reports.*", "mail"])
    found = [
        n
        for n in ("reports.a", "x.reports.a", "mail", "Mail", "mails")
        if globs.matches(n)
    ]
    assert found == ["reports.a", "mail"]
