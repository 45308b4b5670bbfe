"""A run of the matrix says of each cell what became of it, and why: real environments, packages of three lines."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import cells as cells_module
from scripts.cells import Result, run_cells
from scripts.matrix import Cell, read_package
from scripts.matrix_page import merge, read, render

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
_PROJECT = """
[project]
name = "obs-trial"
version = "1.0.0"
classifiers = ["Programming Language :: Python :: {python}"]
dependencies = []

[dependency-groups]
test = ["pytest"]

[tool.obs.matrix.thing]
here = ["iniconfig"]
nowhere = ["iniconfig==0.0.0.dev999"]

[tool.obs.matrix.unsupported]
"thing=never & python={python}" = "they quarrel"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["src/obs_trial"]
"""
pytestmark = pytest.mark.timeout(600)
MakeCell = Callable[..., Cell]


@pytest.fixture
def make_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeCell:
    """Return what makes a cell of a package of one test; records go to a temporary folder."""
    monkeypatch.setattr(
        cells_module, "HOME", cells_module.HOME / f"test-{tmp_path.name}"
    )
    monkeypatch.setattr(cells_module, "RECORD", tmp_path / "results.jsonl")

    def make(
        label: str = "here", test: str = "assert True", python: str = HERE
    ) -> Cell:
        source = tmp_path / "src" / "obs_trial" / "__init__.py"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("")
        (tmp_path / "pyproject.toml").write_text(_PROJECT.format(python=HERE))
        (tmp_path / "test_trial.py").write_text(
            f"import iniconfig, obs_trial\ndef test_it():\n    {test}\n"
        )
        return Cell(read_package(tmp_path), python, (("thing", label),))

    return make


def _run(cell: Cell, *, resume: bool = False) -> Result:
    [result] = run_cells([cell], jobs=1, resume=resume)
    return result


def test_each_outcome_has_its_reason(make_cell: MakeCell) -> None:
    """Passed, failed, not resolved, no such Python, unsupported."""
    assert _run(make_cell()).reason.startswith("1 passed")
    failed = _run(make_cell(test="assert 1 == 2"))
    assert (failed.outcome, failed.good) == ("failed", False)
    assert "test_it - assert 1 == 2" in failed.reason
    unresolved = _run(make_cell("nowhere"))
    assert unresolved.outcome == "does not resolve"
    assert "iniconfig" in unresolved.reason
    assert _run(make_cell(python="3.3")).outcome == "no such Python"
    unsupported = _run(make_cell("never"))
    assert (unsupported.outcome, unsupported.reason, unsupported.good) == (
        "unsupported",
        "they quarrel",
        True,
    )


def test_resume_runs_what_has_not_passed(make_cell: MakeCell) -> None:
    """The cell that passed would fail now, and is not run again; the one that failed is."""
    assert _run(make_cell()).outcome == "passed"
    assert _run(make_cell(test="assert False"), resume=True).outcome == "passed"
    assert _run(make_cell(test="assert False")).outcome == "failed"
    assert _run(make_cell(), resume=True).outcome == "passed"


def test_nothing_begins_when_the_time_is_up(make_cell: MakeCell) -> None:
    """What was not begun has no result and no record; what passed before is still told."""
    assert run_cells([make_cell()], jobs=1, minutes=0) == []
    assert list(cells_module.recorded()) == []
    passed = _run(make_cell())
    assert run_cells([make_cell()], jobs=1, minutes=0, resume=True) == [passed]


def test_the_page_keeps_what_it_knew_and_takes_over_what_is_new(tmp_path: Path) -> None:
    """Written, read and written again it is the same; a newer result replaces the older one; what never ran says so."""
    page = tmp_path / "matrix.md"
    first, second = (
        "obs-core python=3.10 opentelemetry=1.28",
        "obs-core python=3.11 opentelemetry=1.36",
    )
    old = merge(
        {},
        [
            Result(first, "failed", "FAILED a | b", 7, "abc1234"),
            Result(second, "passed", "9 passed", 8, "abc1234"),
        ],
    )
    page.write_text(render(old))
    assert re.search(
        r"\d+ of them not run yet: 1 failed, 1 passed, \d+ unsupported\.",
        page.read_text(),
    )
    assert read(page)[first].reason == "FAILED a / b"
    assert (
        "| obs-core python=3.10 opentelemetry=newest | not run yet | | | |"
        in page.read_text()
    )
    new = merge(read(page), [Result(first, "passed", "9 passed", 9, "def5678")])
    assert (new[first].commit, new[second].commit) == ("def5678", "abc1234")
    page.write_text(render(new))
    assert read(page) == new
