"""The critical path: the spans for which a trace waited, moment by moment."""

from __future__ import annotations

from collections.abc import Mapping

from obs_view._model import Span
from obs_view._trace import Trace

Segments = dict[str, list[tuple[int, int]]]


def critical_path(trace: Trace) -> Segments:
    """Return for each span on the critical path of `trace` the periods on the path: (start, end) in ns since the epoch.

    Backwards from the end of the root: at each moment the path is in the child that ended last before it, or else in the
    span itself. A child that outlives its parent, as a task does its publisher, counts up to its own end.
    """
    children: dict[str, list[Span]] = {}
    for row in trace.rows:
        children.setdefault(row.span.parent_id, []).append(row.span)
    ends = _ends(trace)
    segments: Segments = {}
    stack = [(trace.root, ends[trace.root.span_id])]
    visited: set[str] = set()
    while stack:
        span, until = stack.pop()
        if span.span_id not in visited:
            visited.add(span.span_id)
            stack += _descend(
                span, until, children.get(span.span_id, []), ends, segments
            )
    return segments


def _ends(trace: Trace) -> dict[str, int]:
    """Return the end of each span with all descendants."""
    ends = {
        row.span.span_id: row.span.start_time + row.span.duration for row in trace.rows
    }
    for row in reversed(trace.rows):
        parent = row.span.parent_id
        if parent in ends:
            ends[parent] = max(ends[parent], ends[row.span.span_id])
    return ends


def _descend(
    span: Span,
    until: int,
    children: list[Span],
    ends: Mapping[str, int],
    segments: Segments,
) -> list[tuple[Span, int]]:
    below: list[tuple[Span, int]] = []
    cursor = until
    own = segments.setdefault(span.span_id, [])
    latest_first = sorted(children, key=lambda item: -ends[item.span_id])
    for child in latest_first:
        end = min(ends[child.span_id], cursor)
        if child.start_time >= end or end <= span.start_time:
            continue
        if cursor > end:
            own.append((end, cursor))
        below.append((child, end))
        cursor = max(child.start_time, span.start_time)
    if cursor > span.start_time:
        own.append((span.start_time, cursor))
    return below
