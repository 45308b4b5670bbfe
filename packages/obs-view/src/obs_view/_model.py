"""Spans, events, links and traces, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

_MAX_GUIDES = 32


class Event(NamedTuple):
    """An event of a span; `time` is nanoseconds since the epoch."""

    name: str
    time: int
    attributes: Mapping[str, Any]


class Link(NamedTuple):
    """A pointer from a span to a second span, often of a different trace; ids are lower-case hex."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]


class Span(NamedTuple):
    """A received span; ids are lower-case hex, `parent_id` is empty for a root, times are nanoseconds since the epoch."""

    name: str
    service: str
    kind: str
    status: str
    description: str
    trace_id: str
    span_id: str
    parent_id: str
    start_time: int
    end_time: int
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    scope: str
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()

    @property
    def duration(self) -> int:
        """Nanoseconds from start to end; 0 where the end is missing or before the start."""
        return max(0, self.end_time - self.start_time)

    @property
    def failed(self) -> bool:
        """Whether the status is ERROR."""
        return self.status == "ERROR"

    @property
    def attempt(self) -> int:
        """The number of the attempt, from 1: ``celery.retries`` or ``http.request.resend_count`` plus one."""
        retries = self.attributes.get("celery.retries")
        if retries is None:
            retries = self.attributes.get("http.request.resend_count")
        if not isinstance(retries, int):
            return 1
        return retries + 1

    @property
    def exceptions(self) -> list[tuple[str, str]]:
        """Type and message of each recorded exception."""
        return [
            (
                str(event.attributes.get("exception.type", "")),
                str(event.attributes.get("exception.message", "")),
            )
            for event in self.events
            if event.name == "exception"
        ]


class Log(NamedTuple):
    """A log record; `severity` is OpenTelemetry's number, from 1 (TRACE) to 24 (FATAL), 0 if not given."""

    time: int
    severity: int
    level: str
    body: str
    service: str
    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]


class Row(NamedTuple):
    """A span's place in the tree; `depth` is 0 for a root.

    `guides` tells for each of the innermost levels, 32 at most, whether the branch ends at this row.
    """

    span: Span
    depth: int
    guides: tuple[bool, ...]
    has_children: bool


class Trace:
    """All spans of a trace received until now; immutable, usable from any thread."""

    def __init__(self, spans: Iterable[Span], logs: Iterable[Log] = ()) -> None:
        """Take the `spans` of a trace (at least one), in any order, and the `logs`."""
        self.logs: tuple[Log, ...] = tuple(logs)
        self.spans: tuple[Span, ...] = tuple(
            sorted(
                _with_own_ids(list(spans)),
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
        return tuple(_rows(self.spans, self.by_id))

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


def _with_own_ids(spans: list[Span]) -> list[Span]:
    """Give spans that share an id (client and server, in Zipkin's style) different ids.

    The second span gets a new id below the first, and the children of the same service.
    """
    by_id: dict[str, list[Span]] = {}
    for span in spans:
        by_id.setdefault(span.span_id, []).append(span)
    if len(by_id) == len(spans):
        return spans
    owners = {
        (span_id, span.service): _numbered(span_id, number)
        for span_id, same in by_id.items()
        for number, span in enumerate(sorted(same, key=_client_first))
    }
    return [_parted(span, owners) for span in spans]


def _numbered(span_id: str, number: int) -> str:
    if number == 0:
        return span_id
    return f"{span_id}-{number}"


def _client_first(span: Span) -> tuple[bool, int]:
    return span.kind not in ("CLIENT", "PRODUCER"), span.start_time


def _parted(span: Span, owners: Mapping[tuple[str, str], str]) -> Span:
    own = owners[span.span_id, span.service]
    if own != span.span_id:
        return span._replace(span_id=own, parent_id=span.span_id)
    parent = owners.get((span.parent_id, span.service), span.parent_id)
    return span._replace(parent_id=parent)


def _rows(spans: Iterable[Span], known: Mapping[str, Span]) -> Iterable[Row]:
    children: dict[str, list[Span]] = {}
    for span in spans:
        is_root = span.parent_id not in known
        children.setdefault("" if is_root else span.parent_id, []).append(span)
    seen: set[str] = set()
    yield from _walk(children.get("", []), children, seen)
    for span in (
        spans
    ):  # whatever no root leads to stands in a cycle: enter it at its earliest span
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
