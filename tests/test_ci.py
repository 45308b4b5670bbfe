"""`.ci/run` names at its end the tests that it ran once more."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: In place of the interpreter: makes an environment that changes nothing.
PYTHON = """#!/bin/sh
[ "$2" = venv ] && mkdir -p .nox/ci/bin && touch .nox/ci/bin/activate
exit 0
"""
#: Fails in the named session unless it is told to run what failed; a cell's failure is in its log alone.
NOX = """#!/bin/sh
echo "nox $*"
case "$*" in
  *--last-failed*) exit {second} ;;
  "-s tests"*) echo "FAILED packages/a/tests/test_a.py::test_one - assert 1 == 2"; exit {tests} ;;
  *matrix*)
    mkdir -p .nox/matrix
    echo "1 passed" > .nox/matrix/sound.log
    echo "FAILED packages/b/tests/test_b.py::test_two" > .nox/matrix/obs-b-py3.10.log
    exit {matrix} ;;
esac
"""


def ci(folder: Path, **codes: int) -> subprocess.CompletedProcess[str]:
    """Run the script in `folder`, its tools replaced: they exit with `codes`."""
    tools = folder / "tools"
    for name, text in {"python": PYTHON, "nox": NOX.format(**codes)}.items():
        tools.mkdir(exist_ok=True)
        (tools / name).write_text(text)
        (tools / name).chmod(stat.S_IRWXU)
    (folder / ".ci").mkdir()
    script = shutil.copy(ROOT / ".ci" / "run", folder / ".ci" / "run")
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(folder),
    }
    return subprocess.run([script], env=environment, capture_output=True, text=True)


def test_nothing_is_said_where_all_pass(tmp_path: Path) -> None:
    """A line of a log that passed is no failure."""
    done = ci(tmp_path, tests=0, matrix=0, second=1)
    assert (done.returncode, done.stderr) == (0, "")
    assert "once more" not in done.stdout


@pytest.mark.parametrize("second", [0, 1])
def test_what_was_run_once_more_is_named_at_the_end(
    tmp_path: Path, second: int
) -> None:
    """Of the suite and of the cells, where it passes then and where it fails again; logs of former runs say nothing."""
    (tmp_path / ".nox" / "matrix").mkdir(parents=True)
    stale = tmp_path / ".nox" / "matrix" / "stale.log"
    stale.write_text("FAILED packages/c/tests/test_c.py::test_three\n")
    os.utime(stale, (0, 0))
    done = ci(tmp_path, tests=1, matrix=1, second=second)
    _, _, told = done.stdout.partition("Failed once, and were run once more:\n")
    cell = "obs-b-py3.10: FAILED packages/b/tests/test_b.py::test_two"
    suite = "tests: FAILED packages/a/tests/test_a.py::test_one - assert 1 == 2"
    # a suite that fails again ends the run
    assert told.splitlines() == ([suite] if second else [cell, suite])
    assert done.returncode == second
