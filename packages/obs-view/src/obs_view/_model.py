"""Spans, events, links and log records as received, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


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
