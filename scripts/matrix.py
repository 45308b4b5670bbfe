"""The support matrix: what each package claims in ``[tool.obs.matrix]`` and its classifiers, as cells to test."""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
_PYTHON = re.compile(r"Programming Language :: Python :: (3\.\d+)")
Axes = Mapping[str, Sequence[str]]
Choose = Callable[[Axes], list[dict[str, str]]]


@dataclass(frozen=True, slots=True)
class Package:
    """One package of the workspace, as its pyproject.toml tells it.

    Attributes:
        folder: Where it lives.
        project: Its ``[project]`` table.
        axes: Axis name → label → requirements that put the axis there; without the Python versions.
        unsupported: Pairs of labels that cannot go together → the reason, as ``"celery=5.3 & python=3.13" = "…"``.
    """

    folder: Path
    project: Mapping[str, Any]
    axes: Mapping[str, Mapping[str, Sequence[str]]]
    unsupported: Mapping[str, str]

    @property
    def name(self) -> str:
        """The distribution's name."""
        return str(self.project["name"])

    @property
    def import_name(self) -> str:
        """The package to import."""
        return next(path.parent.name for path in sorted(self.folder.glob("src/*/__init__.py")))

    @property
    def pythons(self) -> list[str]:
        """The Python versions of the classifiers, oldest first."""
        return [found[1] for found in map(_PYTHON.fullmatch, self.project.get("classifiers", ())) if found]


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination to test: a package, a Python, a label for each of its axes, and how uv resolves the rest."""

    package: Package
    python: str
    labels: tuple[tuple[str, str], ...] = ()
    resolution: str = "highest"

    @property
    def requirements(self) -> list[str]:
        """What to install beside the package."""
        return [line for axis, label in self.labels for line in self.package.axes[axis][label]]

    @property
    def unsupported(self) -> str | None:
        """Why this combination is not supported, or None."""
        here = {f"{axis}={label}" for axis, label in (*self.labels, ("python", self.python))}
        return next((why for pair, why in self.package.unsupported.items() if set(pair.split(" & ")) <= here), None)

    def __str__(self) -> str:
        labels = "".join(f" {axis}={label}" for axis, label in self.labels)
        resolution = "" if self.resolution == "highest" else f" {self.resolution}"
        return f"{self.package.name} python={self.python}{labels}{resolution}"


def read_package(folder: Path) -> Package:
    """Read one package's pyproject.toml."""
    data = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    matrix = data.get("tool", {}).get("obs", {}).get("matrix", {})
    axes = {name: table for name, table in matrix.items() if name != "unsupported"}
    return Package(folder, data["project"], axes, matrix.get("unsupported", {}))


def read_packages(root: Path = ROOT) -> list[Package]:
    """Read all packages of the workspace, sorted by name."""
    return [read_package(path.parent) for path in sorted(root.glob("packages/*/pyproject.toml"))]


def cells(package: Package, choose: Choose | None = None) -> Iterator[Cell]:
    """Yield the package's cells: all combinations, or those that `choose` (`pairwise`, `diagonal`) picks of its axes."""
    axes: Axes = {"python": package.pythons, **{name: list(table) for name, table in package.axes.items()}}
    for choice in (choose or product)(axes):
        chosen = dict(choice)
        yield Cell(package, chosen.pop("python"), tuple(chosen.items()))


def lowest_cell(package: Package) -> Cell:
    """Return the cell of the oldest Python with the lowest direct dependencies that the package declares."""
    return Cell(package, package.pythons[0], resolution="lowest-direct")


def product(axes: Axes) -> list[dict[str, str]]:
    """Return every combination."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def diagonal(axes: Axes) -> list[dict[str, str]]:
    """Return as few rows as contain each value of each axis: from the oldest of everything to the newest of everything."""
    last = max(map(len, axes.values())) - 1

    def value(values: Sequence[str], row: int) -> str:
        return values[math.ceil(row * (len(values) - 1) / max(last, 1))]

    return [{axis: value(values, row) for axis, values in axes.items()} for row in range(last + 1)]


def pairwise(axes: Axes) -> list[dict[str, str]]:
    """Cover every pair of values of any two axes with few rows (greedy: each row takes the most pairs still open).

    The first row is the newest of everything and the second the oldest, so that both ends are always run.
    """

    def pairs(row: dict[str, str]) -> set[tuple[tuple[str, str], ...]]:
        return set(itertools.combinations(sorted(row.items()), min(2, len(axes))))

    candidates = sorted(product(axes), key=lambda row: tuple(row.values()))
    open_pairs = {pair for row in candidates for pair in pairs(row)}
    rows: list[dict[str, str]] = []
    ends = [{axis: values[end] for axis, values in axes.items()} for end in (-1, 0)]
    for row in ends:
        if row not in rows:
            rows.append(row)
            open_pairs -= pairs(row)
    while open_pairs:
        best = max(candidates, key=lambda row: len(open_pairs & pairs(row)))
        rows.append(best)
        open_pairs -= pairs(best)
    return rows
