"""docs/benchmarks.md is written from what the benchmarks print, but for what is written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import benchmarks

PAGE = """# Benchmarks

Head.

## export

Old.

## request_instructions

By hand.
"""


@pytest.mark.parametrize("names", [[], ["request_instructions", "export"]])
def test_what_is_written_by_hand_stays(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether all run or the named ones."""
    page = tmp_path / "benchmarks.md"
    page.write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(benchmarks, "PAGE", page)
    monkeypatch.setattr(benchmarks, "run", lambda script: f"new of {script.stem}")
    benchmarks.main(names)
    written = page.read_text(encoding="utf-8")
    assert "By hand." in written
    assert "new of request_instructions" not in written
    assert "new of export" in written
    assert "Old." not in written
