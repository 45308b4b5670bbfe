"""Remarks below a span in the terminal: failures, retries, log records, links, clocks that differ."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import starmap

from obs_view._console import Glyphs
from obs_view._model import Link, Span
from obs_view._otlp import LEVELS
from obs_view._text import duration, remark
from obs_view._trace import Trace

_ERROR, _OFF = 17, 99


class Remarks:
    """The remarks on the spans of a trace.

    Args:
        trace: The trace.
        log_level: The least level of log records, ``TRACE`` to ``FATAL``, or ``OFF``.
        glyphs: The signs that the console can show.
    """

    def __init__(self, trace: Trace, log_level: str, glyphs: Glyphs) -> None:
        self._trace = trace
        self._least_severity = severity_of(log_level)
        self._glyphs = glyphs

    def of(self, span: Span) -> Iterator[tuple[str, str]]:
        """Yield the text and the style of each remark."""
        yield from _failures(span)
        yield from _events(span)
        yield from self._logs(span)
        for link in span.links:
            yield self._glyphs.link + self._target(link), "blue"
        parent = self._trace.by_id.get(span.parent_id)
        if parent and 0 < span.start_time < parent.start_time:
            before = duration(parent.start_time - span.start_time)
            yield f"starts {before} before its parent: the clocks differ", "yellow"

    def _logs(self, span: Span) -> Iterator[tuple[str, str]]:
        for log in self._trace.logs_by_span.get(span.span_id, ()):
            if log.severity >= self._least_severity:
                style = "red" if log.severity >= _ERROR else "dim"
                yield f"{log.level or 'LOG'} {log.body}", style

    def _target(self, link: Link) -> str:
        if link.trace_id != self._trace.trace_id:
            return f"linked to span {link.span_id} of trace {link.trace_id}"
        here = self._trace.by_id.get(link.span_id)
        if here is None:
            return f"linked to span {link.span_id}, which is not here"
        if "celery.retries" not in here.attributes:
            return f"linked to {here.name}"
        return f"linked to {here.name}, attempt {here.attempt}"


def severity_of(level: str) -> int:
    """Return the least severity number of a level; for ``OFF`` a number above all."""
    name = level.upper()
    if name == "OFF":
        return _OFF
    return 1 + 4 * LEVELS.index(name)


def _events(span: Span) -> Iterator[tuple[str, str]]:
    """Yield the events that our integrations record."""
    for event in span.events:
        if event.name.startswith("obs."):
            facts = ", ".join(starmap(remark, event.attributes.items()))
            yield f"{event.name}: {facts}", "yellow"


def _failures(span: Span) -> Iterator[tuple[str, str]]:
    """Yield the exceptions of a span, and the description of the status unless an exception has the same message."""
    style = "red" if span.failed else "yellow"
    exceptions = span.exceptions
    for kind, message in exceptions:
        yield ": ".join(filter(None, (kind, message))), style
    messages = [message for _, message in exceptions if message]
    if span.description and not any(
        message in span.description for message in messages
    ):
        yield span.description, style
    elif span.failed and not exceptions:
        yield str(span.attributes.get("error.type", "failed, with no message")), style
