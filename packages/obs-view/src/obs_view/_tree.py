"""The tree of a trace: each span once, below its parent, also spans whose parent is missing and cycles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from obs_view._model import Span

_MAX_GUIDES = 32


class Row(NamedTuple):
    """A span's place in the tree; `depth` is 0 for a root.

    `guides` tells for each of the innermost levels, 32 at most, whether the branch ends at this row.
    """

    span: Span
    depth: int
    guides: tuple[bool, ...]
    has_children: bool


def tree_rows(spans: Iterable[Span], known: Mapping[str, Span]) -> Iterable[Row]:
    """Yield the rows of `spans`, which are `known` by their ids."""
    children: dict[str, list[Span]] = {}
    for span in spans:
        is_root = span.parent_id not in known
        children.setdefault("" if is_root else span.parent_id, []).append(span)
    seen: set[str] = set()
    yield from _walk(children.get("", []), children, seen)
    # a span that no root leads to is in a cycle: enter it at its earliest span
    for span in spans:
        if span.span_id not in seen:
            yield from _walk([span], children, seen)


def _walk(
    roots: list[Span], children: Mapping[str, list[Span]], seen: set[str]
) -> Iterable[Row]:
    stack: list[tuple[Span, int, tuple[bool, ...]]] = [
        (span, 0, ()) for span in reversed(roots)
    ]
    seen.update(span.span_id for span in roots)
    while stack:
        span, depth, guides = stack.pop()
        below = [
            child
            for child in children.get(span.span_id, ())
            if child.span_id not in seen
        ]
        seen.update(child.span_id for child in below)
        yield Row(span, depth, guides, bool(below))
        stack += [
            (child, depth + 1, (*guides[1 - _MAX_GUIDES :], child is below[-1]))
            for child in reversed(below)
        ]
