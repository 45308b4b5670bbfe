"""The table of what each implementation keeps is what a run gives."""

from __future__ import annotations

import pytest
from obs_core.integration import version_conflicts

from scripts import implementations
from scripts.compatibility import PAGE


@pytest.mark.promise("DB-34")
def test_the_table_is_what_a_run_gives(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the newest contrib, which the page is about."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    assert version_conflicts("obs-db") == []
    assert PAGE.read_text(encoding="utf-8").endswith(implementations.table())
