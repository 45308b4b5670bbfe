"""Spans as an indented tree, for assertions and for readers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class TreeSpan(Protocol):
    """The part of a span that the tree shows; ids are ints, 0 for "no parent"."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def trace_id(self) -> int: ...
    @property
    def span_id(self) -> int: ...
    @property
    def parent_id(self) -> int: ...
    @property
    def start_time(self) -> int: ...
    @property
    def attributes(self) -> Mapping[str, Any]: ...


def render_tree(spans: Iterable[TreeSpan], *, attributes: Iterable[str] = ()) -> str:
    """Return the spans as text, one a line, children indented by two blanks below their parent, siblings by start.

    A line is ``name [KIND]``, with `` ERROR`` for a failed span and `` key=value`` for each of `attributes` that is set. A
    span whose parent is not among `spans` stands at the left; traces are ordered by their first span.
    """
    ordered = sorted(spans, key=lambda span: (span.start_time, span.span_id))
    known = {(span.trace_id, span.span_id) for span in ordered}
    keys = tuple(attributes)
    children: dict[tuple[int, int], list[TreeSpan]] = {}
    for span in ordered:
        parent = (span.trace_id, span.parent_id)
        children.setdefault(parent if parent in known else (0, 0), []).append(span)
    lines: list[str] = []

    def walk(span: TreeSpan, depth: int) -> None:
        lines.append("  " * depth + _line(span, keys))
        for child in children.get((span.trace_id, span.span_id), ()):
            walk(child, depth + 1)

    for root in children.get((0, 0), ()):
        walk(root, 0)
    return "\n".join(lines)


def _line(span: TreeSpan, keys: tuple[str, ...]) -> str:
    line = f"{span.name} [{span.kind}]"
    if span.status == "ERROR":
        line += " ERROR"
    shown = [key for key in keys if key in span.attributes]
    return line + "".join(f" {key}={span.attributes[key]!r}" for key in shown)
