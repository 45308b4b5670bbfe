"""The matrix says what is claimed, and the sample misses no pair."""

from __future__ import annotations

import itertools

import pytest

from scripts.matrix import (
    ROOT,
    Package,
    cells,
    diagonal,
    in_turn,
    newer_cells,
    pairwise,
    read_packages,
)

AXES = {
    "python": ["3.10", "3.11", "3.13"],
    "celery": ["5.3", "5.5", "5.7"],
    "opentelemetry": ["1.28", "1.45"],
}


def test_pairwise_covers_every_pair_with_fewer_rows_than_all() -> None:
    """Each pair of labels of two axes stands in a row; the diagonal comes first, newest to oldest."""
    rows = pairwise(AXES)
    covered = {
        pair for row in rows for pair in itertools.combinations(sorted(row.items()), 2)
    }
    wanted = {
        tuple(sorted([(a, x), (b, y)]))
        for a, b in itertools.combinations(AXES, 2)
        for x, y in itertools.product(AXES[a], AXES[b])
    }
    assert covered == wanted
    assert len(rows) < 18
    assert rows[:3] == diagonal(AXES)[::-1]
    assert rows[0] == {"python": "3.13", "celery": "5.7", "opentelemetry": "1.45"}


def test_the_diagonal_has_each_version_and_both_ends() -> None:
    """With no more rows than the longest axis has values."""
    rows = diagonal({**AXES, "pool": ["solo"]})
    assert rows[0] == {
        "python": "3.10",
        "celery": "5.3",
        "opentelemetry": "1.28",
        "pool": "solo",
    }
    assert rows[-1] == {
        "python": "3.13",
        "celery": "5.7",
        "opentelemetry": "1.45",
        "pool": "solo",
    }
    assert len(rows) == 3
    for package in read_packages():
        axes = {
            "python": package.pythons,
            **{axis: list(table) for axis, table in package.axes.items()},
        }
        chosen = diagonal(axes)
        assert len(chosen) == max(map(len, axes.values()))
        assert {axis: {row[axis] for row in chosen} for axis in axes} == {
            axis: set(labels) for axis, labels in axes.items()
        }


def test_libraries_that_never_meet_are_not_combined() -> None:
    """Of obs-db's SQLAlchemy and redis every version is there, side by side, and combined with everything else."""
    package = next(package for package in read_packages() if package.name == "obs-db")
    assert package.apart == ["sqlalchemy", "redis"]
    rows = [dict(cell.labels) for cell in cells(package)]
    beside = {(row["sqlalchemy"], row["redis"]) for row in rows}
    assert beside == {
        *(("1.4", "5"), ("2.0", "6"), ("2.0", "7")),
        *(("2.1", "8.0"), ("2.1", "8.1")),
    }
    assert len(rows) == len(beside) * len(package.axes["opentelemetry"]) * len(
        package.pythons
    )
    assert list(rows[0]) == list(package.axes)


def test_each_package_has_its_turn() -> None:
    """The newest of each package comes before the second of any, and nothing is lost."""
    queues = [list(cells(package, pairwise)) for package in read_packages()]
    turns = in_turn(queues)
    assert turns[: len(queues)] == [queue[0] for queue in queues]
    assert sorted(map(str, turns)) == sorted(
        str(cell) for queue in queues for cell in queue
    )


@pytest.mark.parametrize("package", read_packages(), ids=lambda package: package.name)
def test_every_cell_names_requirements(package) -> None:
    """A label without requirements would test nothing."""
    for cell in cells(package):
        assert all(package.axes[axis][label] for axis, label in cell.labels), cell


def test_newer_pythons_are_tested_with_the_newest_of_everything() -> None:
    """A cell each, which the matrix and its sample, for machines without these Pythons, do not have."""
    claimed = [f"Programming Language :: Python :: 3.{n}" for n in (13, 14, 15)]
    project = {"name": "obs-x", "classifiers": claimed}
    package = Package(ROOT, project, {"redis": {"7": [], "8": []}}, [], {})
    assert [str(cell) for cell in newer_cells(package)] == [
        "obs-x python=3.14",
        "obs-x python=3.15",
    ]
    assert {cell.python for cell in cells(package)} == {"3.13"}
