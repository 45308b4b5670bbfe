"""Trace: the order of the tree, and what is known of a trace as a whole."""

from __future__ import annotations

import random

import pytest
from obs_view import Trace

from .traces import orders, span


def shape(trace: Trace) -> list[tuple[int, str]]:
    """Depth and name of each row."""
    return [(row.depth, row.span.name) for row in trace.rows]


def test_children_follow_their_parent_in_order_of_start() -> None:
    """In whatever order the spans come."""
    spans = list(orders().spans)
    expected = [
        (0, "POST /orders"),
        (1, "INSERT orders"),
        (1, "publish charge"),
        (2, "charge"),
        (2, "charge"),
        (3, "POST"),
        (3, "body"),
    ]
    for seed in range(20):
        random.Random(seed).shuffle(spans)
        assert shape(Trace(spans)) == expected


@pytest.mark.promise("VIEW-06")
def test_cycles_lose_no_span() -> None:
    """Spans that are each other's parent, or their own, are all shown, once."""
    trace = Trace(
        [
            span(1, 0, "root", 0, 9),
            span(2, 3, "a", 1, 2),
            span(3, 2, "b", 2, 3),
            span(4, 4, "self", 4, 5),
        ]
    )
    assert shape(trace) == [(0, "root"), (0, "a"), (1, "b"), (0, "self")]


@pytest.mark.promise("VIEW-06")
def test_orphans_are_shown_and_counted() -> None:
    """A trace without its root has the first orphan in its place and is not complete."""
    trace = Trace([span(2, 1, "late", 5, 6), span(3, 1, "early", 1, 2)])
    assert (shape(trace), trace.root.name) == ([(0, "early"), (0, "late")], "early")
    assert (trace.missing_parents, trace.complete) == (2, False)


def test_a_trace_knows_its_whole() -> None:
    """Bounds, services in the order of the tree, errors, correlation ids."""
    trace = orders()
    assert (trace.duration, trace.services, trace.errors, trace.correlation_ids) == (
        200_000_000,
        ("shop", "worker"),
        2,
        ("c-1",),
    )
    assert (trace.complete, [row.span.attempt for row in trace.rows]) == (
        True,
        [1, 1, 1, 1, 2, 1, 1],
    )
