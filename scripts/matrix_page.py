"""Keep docs/matrix.md, what became of each cell: ``python -m scripts.matrix_page`` takes over what the last runs recorded."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

from scripts.cells import Result, recorded
from scripts.matrix import ROOT, cells, lowest_cell, newer_cells, read_packages

PAGE = ROOT / "docs" / "matrix.md"
_ROW = re.compile(
    r"^\| (?P<cell>[a-z-]+ python=.*?) \| (?P<outcome>.*?) \| (?P<reason>.*?) \| (?P<s>\d+) \| (?P<commit>\w*) \|$"
)
_HEAD = """# What became of the cells

Written by `python -m scripts.matrix_page` from the records of `nox -s matrix`, `newer` and `lowest`: each cell as it was run
last, and at which commit. Which versions there are: [compatibility](compatibility.md). The tests marked `soak`, whose subject
no version changes, are left out of all cells; `nox -s tests` runs them.
"""


def read(page: Path = PAGE) -> dict[str, Result]:
    """Return the results that the page has, by cell."""
    found = map(
        _ROW.match,
        page.read_text(encoding="utf-8").splitlines() if page.exists() else [],
    )
    return {
        row["cell"]: Result(
            row["cell"], row["outcome"], row["reason"], int(row["s"]), row["commit"]
        )
        for row in found
        if row
    }


def render(results: dict[str, Result]) -> str:
    """Return the page: every cell that the packages claim, with its result, or why it has none."""
    every = [
        cell
        for package in read_packages()
        for cell in (*cells(package), *newer_cells(package), lowest_cell(package))
    ]
    excluded = {
        str(cell): Result(str(cell), "unsupported", cell.unsupported, 0)
        for cell in every
        if cell.unsupported
    }
    known = {
        name: (results | excluded)[name]
        for name in map(str, every)
        if name in results or name in excluded
    }
    said = ", ".join(
        f"{len(list(group))} {outcome}"
        for outcome, group in groupby(sorted(r.outcome for r in known.values()))
    )
    lines = [
        _HEAD,
        f"{len(every)} cells, {len(every) - len(known)} of them not run yet: {said}.",
    ]
    for package, group in groupby(
        map(str, every), key=lambda name: name.partition(" ")[0]
    ):
        lines += [
            "",
            f"## {package}",
            "",
            "| cell | outcome | tests, or why | s | commit |",
            "|---|---|---|---:|---|",
        ]
        lines += [_row(name, known.get(name)) for name in group]
    return "\n".join(lines) + "\n"


def _row(name: str, result: Result | None) -> str:
    if result is None:
        return f"| {name} | not run yet | | | |"
    reason = result.reason.replace("|", "/")  # the table's own sign
    return f"| {name} | {result.outcome} | {reason} | {result.duration_s:.0f} | {result.commit} |"


def merge(known: Mapping[str, Result], new: Iterable[Result]) -> dict[str, Result]:
    """Return `known` with `new` in place of what it replaces."""
    return {**known, **{result.cell: result for result in new}}


def main() -> int:
    """Write the page."""
    PAGE.write_text(render(merge(read(), recorded())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
