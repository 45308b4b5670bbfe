"""The matrix says what is claimed, and the sample misses no pair."""

from __future__ import annotations

import itertools

import pytest

from scripts.matrix import cells, diagonal, pairwise, read_packages

AXES = {"python": ["3.10", "3.11", "3.13"], "celery": ["5.3", "5.5", "5.7"], "opentelemetry": ["1.28", "1.45"]}


def test_pairwise_covers_every_pair_with_fewer_rows_than_all() -> None:
    """Each pair of labels of two axes stands in a row; both ends come first."""
    rows = pairwise(AXES)
    covered = {pair for row in rows for pair in itertools.combinations(sorted(row.items()), 2)}
    wanted = {
        tuple(sorted([(a, x), (b, y)]))
        for a, b in itertools.combinations(AXES, 2)
        for x, y in itertools.product(AXES[a], AXES[b])
    }
    assert covered == wanted
    assert len(rows) < 18
    assert rows[0] == {"python": "3.13", "celery": "5.7", "opentelemetry": "1.45"}
    assert rows[1] == {"python": "3.10", "celery": "5.3", "opentelemetry": "1.28"}


def test_the_diagonal_has_each_version_and_both_ends() -> None:
    """With no more rows than the longest axis has values."""
    rows = diagonal({**AXES, "pool": ["solo"]})
    assert rows[0] == {"python": "3.10", "celery": "5.3", "opentelemetry": "1.28", "pool": "solo"}
    assert rows[-1] == {"python": "3.13", "celery": "5.7", "opentelemetry": "1.45", "pool": "solo"}
    assert len(rows) == 3
    for package in read_packages():
        axes = {"python": package.pythons, **{axis: list(table) for axis, table in package.axes.items()}}
        chosen = diagonal(axes)
        assert len(chosen) == max(map(len, axes.values()))
        assert {axis: {row[axis] for row in chosen} for axis in axes} == {axis: set(labels) for axis, labels in axes.items()}


@pytest.mark.parametrize("package", read_packages(), ids=lambda package: package.name)
def test_every_cell_names_requirements(package) -> None:
    """A label without requirements would test nothing."""
    for cell in cells(package):
        assert all(package.axes[axis][label] for axis, label in cell.labels), cell
