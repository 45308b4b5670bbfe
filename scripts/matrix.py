"""The support matrix: what each package claims in ``[tool.obs.matrix]`` and its classifiers, as cells to test."""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
_PYTHON = re.compile(r"Programming Language :: Python :: (3\.\d+)")
# a minor version of Python 3: .ci/run has the Pythons up to this one
_NEWEST_IN_MATRIX = 13
_SPECIAL = ("apart", "unsupported")
Value = TypeVar("Value")
Axes = Mapping[str, Sequence[Value]]
Labels = tuple[tuple[str, str], ...]
Choose = Callable[[Axes[Labels]], list[dict[str, Labels]]]


@dataclass(frozen=True, slots=True)
class Package:
    """One package of the workspace, as its pyproject.toml tells it.

    Attributes:
        folder: Where it lives.
        project: Its ``[project]`` table.
        axes: Axis name → label → requirements that put the axis there; without the Python versions.
        apart: Axes of libraries that never meet: they go side by side, from the oldest of each to the newest, uncombined.
        unsupported: Pairs of labels that cannot go together → the reason, as ``"celery=5.3 & python=3.13" = "…"``.
    """

    folder: Path
    project: Mapping[str, Any]
    axes: Mapping[str, Mapping[str, Sequence[str]]]
    apart: Sequence[str]
    unsupported: Mapping[str, str]

    @property
    def name(self) -> str:
        """The distribution's name."""
        return str(self.project["name"])

    @property
    def import_name(self) -> str:
        """The package to import."""
        return next(
            path.parent.name for path in sorted(self.folder.glob("src/*/__init__.py"))
        )

    @property
    def pythons(self) -> list[str]:
        """The Python versions of the matrix, oldest first."""
        return [each for each in self._claimed if _minor(each) <= _NEWEST_IN_MATRIX]

    @property
    def newer_pythons(self) -> list[str]:
        """The Python versions that are tested with the newest of everything alone, oldest first."""
        return [each for each in self._claimed if _minor(each) > _NEWEST_IN_MATRIX]

    @property
    def _claimed(self) -> list[str]:
        return [
            found[1]
            for found in map(_PYTHON.fullmatch, self.project.get("classifiers", ()))
            if found
        ]


def _minor(python: str) -> int:
    return int(python.partition(".")[2])


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination to test: a package, a Python, a label for each of its axes, and how uv resolves the rest."""

    package: Package
    python: str
    labels: Labels = ()
    resolution: str = "highest"

    @property
    def requirements(self) -> list[str]:
        """What to install beside the package."""
        return [
            line
            for axis, label in self.labels
            for line in self.package.axes[axis][label]
        ]

    @property
    def unsupported(self) -> str | None:
        """Why this combination is not supported, or None."""
        here = {
            f"{axis}={label}" for axis, label in (*self.labels, ("python", self.python))
        }
        return next(
            (
                why
                for pair, why in self.package.unsupported.items()
                if set(pair.split(" & ")) <= here
            ),
            None,
        )

    def __str__(self) -> str:
        labels = "".join(f" {axis}={label}" for axis, label in self.labels)
        resolution = "" if self.resolution == "highest" else f" {self.resolution}"
        return f"{self.package.name} python={self.python}{labels}{resolution}"


def read_package(folder: Path) -> Package:
    """Read one package's pyproject.toml."""
    data = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    matrix = data.get("tool", {}).get("obs", {}).get("matrix", {})
    axes = {name: table for name, table in matrix.items() if name not in _SPECIAL}
    return Package(
        folder,
        data["project"],
        axes,
        matrix.get("apart", []),
        matrix.get("unsupported", {}),
    )


def read_packages(root: Path = ROOT) -> list[Package]:
    """Read all packages of the workspace, sorted by name."""
    return [
        read_package(path.parent)
        for path in sorted(root.glob("packages/*/pyproject.toml"))
    ]


def cells(package: Package, choose: Choose | None = None) -> Iterator[Cell]:
    """Yield the package's cells: all combinations, or those that `choose` (`pairwise`) picks of its axes."""
    for row in (choose or product)(_axes(package)):
        labels = dict(itertools.chain.from_iterable(row.values()))
        yield Cell(
            package,
            labels.pop("python"),
            tuple((axis, labels[axis]) for axis in package.axes),
        )


def _axes(package: Package) -> dict[str, list[Labels]]:
    """The package's axes as what they contribute to a cell, those that are apart as one."""
    axes = {axis: list(table) for axis, table in package.axes.items()}
    together = (
        {"apart": diagonal({axis: axes.pop(axis) for axis in package.apart})}
        if package.apart
        else {}
    )
    single = {
        axis: [{axis: label} for label in labels]
        for axis, labels in {"python": package.pythons, **axes}.items()
    }
    return {
        name: [tuple(row.items()) for row in rows]
        for name, rows in {**single, **together}.items()
    }


def lowest_cell(package: Package) -> Cell:
    """Return the cell of the oldest Python with the lowest direct dependencies that the package declares."""
    return Cell(package, package.pythons[0], resolution="lowest-direct")


def newer_cells(package: Package) -> Iterator[Cell]:
    """Yield a cell with the newest of everything for each Python that is newer than the matrix."""
    for python in package.newer_pythons:
        yield Cell(package, python)


def product(axes: Axes[Value]) -> list[dict[str, Value]]:
    """Return every combination."""
    return [
        dict(zip(axes, values, strict=True))
        for values in itertools.product(*axes.values())
    ]


def diagonal(axes: Axes[Value]) -> list[dict[str, Value]]:
    """Return as few rows as contain each value of each axis: from the oldest of everything to the newest of everything."""
    last = max(map(len, axes.values())) - 1

    def value(values: Sequence[Value], row: int) -> Value:
        return values[math.ceil(row * (len(values) - 1) / max(last, 1))]

    return [
        {axis: value(values, row) for axis, values in axes.items()}
        for row in range(last + 1)
    ]


def pairwise(axes: Axes[Value]) -> list[dict[str, Value]]:
    """Cover every pair of values of any two axes with few rows (greedy: each row takes the most pairs still open).

    The diagonal comes first, from the newest of everything to the oldest, so that whoever runs out of time has run each value.
    """

    def pairs(row: Mapping[str, Value]) -> set[tuple[tuple[str, Value], ...]]:
        return set(itertools.combinations(row.items(), min(2, len(axes))))

    candidates = product(axes)
    rows = diagonal(axes)[::-1]
    open_pairs = set().union(*map(pairs, candidates)).difference(*map(pairs, rows))
    while open_pairs:
        best = max(candidates, key=lambda row: len(open_pairs & pairs(row)))
        rows.append(best)
        open_pairs -= pairs(best)
    return rows


def in_turn(queues: Iterable[Iterable[Cell]]) -> list[Cell]:
    """Return the first of each queue, then the second of each, and so on."""
    return [
        cell
        for row in itertools.zip_longest(*queues)
        for cell in row
        if cell is not None
    ]
