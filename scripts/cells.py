"""Run cells of the matrix, each in an environment of its own, and tell what became of them and why."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.matrix import ROOT, Cell

HOME = ROOT / ".nox" / "matrix"
RECORD = HOME / "results.jsonl"
_LIMIT_S = 1200


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a cell.

    Attributes:
        cell: The cell, as it prints.
        outcome: passed, unsupported, or what went wrong: no such Python, does not resolve, failed.
        reason: Why, in a line; of a cell that passed, how many tests did.
        duration_s: How long it took, in seconds, its installation included.
        commit: What was tested.
    """

    cell: str
    outcome: str
    reason: str
    duration_s: float
    commit: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing needs to be done about it."""
        return self.outcome in ("passed", "unsupported")

    def __str__(self) -> str:
        return (
            f"{self.outcome:<11} {self.duration_s:4.0f} s  {self.cell}: {self.reason}"
        )


def run_cells(
    cells: Iterable[Cell], *, jobs: int, resume: bool = False, minutes: float = math.inf
) -> list[Result]:
    """Run `cells`, `jobs` at a time, and print and record each result as it comes; return those of the cells that were run.

    Args:
        cells: What to run.
        jobs: How many cells to run at a time. Their tests start servers of their own and wait for most of their time.
        resume: Do not run again what passed in the recorded run.
        minutes: How long cells may begin.
    """
    HOME.mkdir(parents=True, exist_ok=True)
    chosen = list(cells)
    fresh = {str(cell) for cell in chosen}
    known = {
        result.cell: result
        for result in recorded()
        if result.cell not in fresh or (resume and result.good)
    }
    RECORD.write_text(
        "".join(_line(result) for result in known.values()), encoding="utf-8"
    )
    end = time.monotonic() + 60 * minutes
    with ThreadPoolExecutor(jobs) as pool:
        results = pool.map(
            lambda cell: known.get(str(cell)) or _told(cell, end), chosen
        )
        return [result for result in results if result]


def _told(cell: Cell, end: float) -> Result | None:
    start = time.monotonic()
    if start >= end:
        return None
    outcome, reason = (
        ("unsupported", cell.unsupported) if cell.unsupported else _run(cell)
    )
    result = Result(
        str(cell), outcome, reason, round(time.monotonic() - start, 1), _commit()
    )
    print(result, flush=True)
    with RECORD.open("a", encoding="utf-8") as record:
        record.write(_line(result))
    return result


def _run(cell: Cell) -> tuple[str, str]:
    home = HOME / re.sub(r"[^\w.-]+", "-", str(cell))
    shutil.rmtree(home, ignore_errors=True)
    log = home.parent / f"{home.name}.log"
    try:
        for outcome, command in _steps(cell, home).items():
            with log.open("w", encoding="utf-8") as output:
                code = _exit_code(command, output.fileno())
            if code:
                return outcome, f"{_last_words(log)} ({log.relative_to(ROOT)})"
        return "passed", _last_words(log)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _steps(cell: Cell, home: Path) -> dict[str, list[str]]:
    python, folder = str(home / "bin" / "python"), cell.package.folder
    folders = dict.fromkeys((ROOT / "packages" / "obs-core", folder))
    editables = [argument for package in folders for argument in ("-e", str(package))]
    groups = [
        "--group",
        f"{ROOT}/pyproject.toml:test",
        "--group",
        f"{folder}/pyproject.toml:test",
    ]
    resolution = ["--resolution", cell.resolution]
    return {
        "no such Python": ["uv", "venv", "--quiet", "--python", cell.python, str(home)],
        "does not resolve": [
            *("uv", "pip", "install", "--quiet", "--python", python, *resolution),
            *(*editables, *groups, *cell.requirements),
        ],
        "failed": [
            python,
            "-m",
            "pytest",
            "-q",
            "--no-header",
            "-p",
            "no:cacheprovider",
            "-m",
            "not soak",
            str(folder),
        ],
    }


def _exit_code(command: list[str], output: int) -> int:
    try:
        # pytest cuts the reasons of its summary to the terminal's width
        environment = {**os.environ, "COLUMNS": "400"}
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=_LIMIT_S,
        )
        return done.returncode
    except subprocess.TimeoutExpired:
        return -1


def _commit() -> str:
    command = ["git", "rev-parse", "--short=7", "HEAD"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()


def _last_words(log: Path) -> str:
    """The line that says most: the first failed test, the resolver's reason, how many tests passed, or else the last line."""
    lines = [
        line.strip()
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]
    telling = [
        line
        for line in lines
        if line.startswith(("FAILED ", "ERROR ", "cause: ", "╰─▶"))
    ]
    passed = [line for line in lines if re.search(r"\d+ passed", line)]
    return (telling or passed or lines[-1:] or [""])[0].strip("= ")[:400]


def _line(result: Result) -> str:
    return json.dumps(asdict(result)) + "\n"


def recorded() -> Iterator[Result]:
    """Yield what the last runs have recorded."""
    if RECORD.exists():
        for line in RECORD.read_text(encoding="utf-8").splitlines():
            yield Result(**json.loads(line))
