"""A trace: its spans in the order of the tree, its time, its services, and whether it is complete."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from obs_view._model import Log, Span
from obs_view._shared_ids import with_own_ids
from obs_view._tree import Row, tree_rows


class Trace:
    """All spans of a trace received until now; immutable, usable from any thread."""

    def __init__(self, spans: Iterable[Span], logs: Iterable[Log] = ()) -> None:
        """Take the `spans` of a trace (at least one), in any order, and the `logs`."""
        self.logs: tuple[Log, ...] = tuple(logs)
        self.spans: tuple[Span, ...] = tuple(
            sorted(
                with_own_ids(list(spans)),
                key=lambda span: (span.start_time, -span.end_time, span.span_id),
            )
        )
        self.trace_id: str = self.spans[0].trace_id

    def __repr__(self) -> str:
        return f"<Trace {self.trace_id}: {self.root.name!r}, {len(self.spans)} spans>"

    @cached_property
    def by_id(self) -> dict[str, Span]:
        """The spans by their id."""
        return {span.span_id: span for span in self.spans}

    @cached_property
    def logs_by_span(self) -> dict[str, list[Log]]:
        """The log records by span id."""
        found: dict[str, list[Log]] = {}
        for log in self.logs:
            found.setdefault(log.span_id, []).append(log)
        return found

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The spans in the order of the tree, siblings by start time. Each span once, also orphans and cycles."""
        return tuple(tree_rows(self.spans, self.by_id))

    @property
    def root(self) -> Span:
        """The span without a parent, or else the first span whose parent is missing."""
        return next(
            (row.span for row in self.rows if not row.span.parent_id), self.rows[0].span
        )

    @cached_property
    def start_time(self) -> int:
        """Nanoseconds since the epoch; spans without a start time do not count."""
        return min(
            (span.start_time for span in self.spans if span.start_time), default=0
        )

    @cached_property
    def end_time(self) -> int:
        """Nanoseconds since the epoch."""
        return max(max(span.end_time, span.start_time) for span in self.spans)

    @property
    def duration(self) -> int:
        """Nanoseconds from the first start to the last end."""
        return self.end_time - self.start_time

    @cached_property
    def services(self) -> tuple[str, ...]:
        """The services' names in the order of their first span in the tree."""
        return tuple(dict.fromkeys(row.span.service for row in self.rows))

    @property
    def kept(self) -> tuple[str, ...]:
        """Why the trace was exported, though it was not sampled: the different ``obs.kept`` of its spans."""
        found = (span.attributes.get("obs.kept") for span in self.spans)
        reasons = set(map(str, filter(None, found)))
        return tuple(sorted(reasons))

    @property
    def errors(self) -> int:
        """The number of failed spans."""
        return sum(span.failed for span in self.spans)

    @cached_property
    def correlation_ids(self) -> tuple[str, ...]:
        """The values of ``correlation_id``; several if the id was replaced on the way."""
        found = [row.span.attributes.get("correlation_id") for row in self.rows]
        texts = [str(value) for value in found if value]
        return tuple(dict.fromkeys(texts))

    @property
    def missing_parents(self) -> int:
        """The number of spans whose parent has not been received."""
        return sum(
            bool(span.parent_id) and span.parent_id not in self.by_id
            for span in self.spans
        )

    @property
    def complete(self) -> bool:
        """Whether a root and the parent of every span have been received."""
        return not self.missing_parents and any(
            not span.parent_id for span in self.spans
        )
