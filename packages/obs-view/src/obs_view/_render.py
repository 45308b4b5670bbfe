"""A trace as a coloured tree for the terminal, and the same as plain text."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import starmap

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from obs_view._console import ASCII, UNICODE, is_ascii, print_text, standard_output
from obs_view._model import Link, Row, Span, Trace
from obs_view._otlp import LEVELS
from obs_view._text import clean, duration, plural, remark

_COLOURS = (
    "cyan",
    "magenta",
    "green",
    "yellow",
    "blue",
    "bright_magenta",
    "bright_cyan",
    "bright_green",
)
_NOTE_LINES = 3
_ERROR, _OFF = 17, 99


def severity_of(level: str) -> int:
    """Return the least severity number of a level; more than any for ``OFF``."""
    return _OFF if level.upper() == "OFF" else 1 + 4 * LEVELS.index(level.upper())


def render_trace(
    trace: Trace,
    console: Console | None = None,
    *,
    note: str = "",
    linked: Iterable[Trace] = (),
    log_level: str = "WARN",
) -> None:
    """Print `trace` as a tree: name, service, kind, bar in proportion, duration; errors, links, retries with their span.

    Args:
        trace: What to print.
        console: Where to; default: standard output, coloured and as wide as the terminal, or plain and 100 columns wide.
        note: Words to add to the header.
        log_level: The least level of log records that are shown with their span, ``TRACE`` to ``FATAL``, or ``OFF``.
        linked: Traces that links lead to from this one, or from which they lead here: each gets a line below the tree.
    """
    console = console or standard_output()
    for line in _Tree(trace, console, note, linked, log_level).lines():
        print_text(line, console)


def trace_text(trace: Trace, width: int = 100) -> str:
    """Return the tree as plain text, at most `width` cells wide."""
    file = io.StringIO()
    render_trace(trace, Console(file=file, width=width, color_system=None, force_terminal=False))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


class _Tree:
    """The layout of one trace: the widths of the columns, and the lines."""

    def __init__(
        self, trace: Trace, console: Console, note: str, linked: Iterable[Trace], log_level: str
    ) -> None:
        self.trace, self.console, self.note, self.linked = trace, console, note, linked
        self.least_severity = severity_of(log_level)
        self.glyphs = ASCII if is_ascii(console) else UNICODE
        self.colours = {
            name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(trace.services)
        }
        wide = console.width >= 90
        self.service_width = min(
            max(cell_len(clean(name)) for name in trace.services), 20 if wide else 16
        )
        self.kind_width = 8 if wide else 0
        rest = console.width - self.service_width - self.kind_width - 8 - 4 * 2
        self.levels = max(3, (rest - 40) // 3)
        wanted = max(sum(map(cell_len, self._label(row))) for row in trace.rows)
        self.label_width = max(12, min(wanted, rest - 18))
        self.bar_width = max(1, min(rest - self.label_width, 60))

    def lines(self) -> Iterator[Text]:
        """Yield the header, each span with its notes, the linked traces."""
        yield from self._wrapped(self._title())
        ids = "".join(
            f"{self.glyphs.dot}correlation {clean(value)}" for value in self.trace.correlation_ids
        )
        yield from self._wrapped(Text(f"trace {self.trace.trace_id}{ids}", style="dim"))
        for row in self.trace.rows:
            yield self._line(row)
            yield from self._notes(row)
        for other in self.linked:
            facts = f"{clean(other.root.name)}{self.glyphs.dot}{plural(len(other.spans), 'span')}"
            yield from self._wrapped(
                Text(f"{self.glyphs.link}linked with trace {other.trace_id}: {facts}", style="blue")
            )

    def _wrapped(self, text: Text) -> Iterator[Text]:
        yield from text.wrap(self.console, self.console.width)

    def _title(self) -> Text:
        trace = self.trace
        title = Text.assemble((clean(trace.root.name), "bold red" if trace.root.failed else "bold"))
        facts = [
            (duration(trace.duration), ""),
            (plural(len(trace.spans), "span"), ""),
            (plural(len(trace.services), "service"), ""),
            (plural(trace.errors, "error") if trace.errors else "", "red"),
            (
                plural(trace.missing_parents, "parent") + " not here"
                if trace.missing_parents
                else "",
                "yellow",
            ),
            (self.note, "yellow"),
        ]
        for fact, style in facts:
            title.append(self.glyphs.dot + fact if fact else "", style=style)
        return title

    def _line(self, row: Row) -> Text:
        span, colour = row.span, self.colours[row.span.service]
        guides, mark, name, status, attempt = self._label(row)
        loud = "red" if span.failed else ""
        room = self.label_width - sum(map(cell_len, (guides, mark, status, attempt)))
        name = self._cut(name, room)
        parts = [
            (guides, "dim"),
            (mark, "bold red"),
            (name, loud),
            (status, loud or "green"),
            (attempt, "yellow"),
        ]
        line = Text.assemble(*parts)
        line.append(" " * max(0, self.label_width - line.cell_len) + "  ")
        line.append(self._pad(clean(span.service), self.service_width), style=colour).append("  ")
        if self.kind_width:
            line.append(
                f"{'' if span.kind in ('INTERNAL', 'UNSPECIFIED') else span.kind:<{self.kind_width}}  ",
                style="dim",
            )
        return line.append(self._bar(span), style=loud or colour).append(
            f" {duration(span.duration):>8}"
        )

    def _label(self, row: Row) -> tuple[str, str, str, str, str]:
        """Return what stands in the first column: guides, error mark, name, status code, attempt."""
        span, glyphs = row.span, self.glyphs
        branch = (glyphs.elbow if row.guides[-1] else glyphs.tee) if row.guides else ""
        status = span.attributes.get("http.response.status_code")
        return (
            self._guides(row, row.guides[:-1]) + branch,
            glyphs.error if span.failed else "",
            clean(span.name),
            "" if status is None else f" {clean(status)}",
            f" attempt {span.attempt}" if span.attempt > 1 else "",
        )

    def _guides(self, row: Row, guides: tuple[bool, ...]) -> str:
        drawn = "".join(
            self.glyphs.blank if last else self.glyphs.pipe for last in guides[-self.levels :]
        )
        return (
            f"{self.glyphs.cut}{row.depth}{self.glyphs.cut} {drawn}"
            if row.depth > self.levels + 1
            else drawn
        )

    def _cut(self, text: str, width: int) -> str:
        if cell_len(text) <= width:
            return text
        short = Text(text)
        short.truncate(max(0, width - 1))
        return short.plain + self.glyphs.cut

    def _pad(self, text: str, width: int) -> str:
        text = self._cut(text, width)
        return text + " " * (width - cell_len(text))

    def _bar(self, span: Span) -> str:
        """Draw the span's place in the trace; what is shorter than half a cell is still seen."""
        start, total = self.trace.start_time, max(1, self.trace.duration)
        begin = (max(span.start_time, start) - start) * self.bar_width / total
        length = span.duration * self.bar_width / total
        offset = min(round(begin), self.bar_width - 1)
        drawn = self.glyphs.bar * round(length) or self.glyphs.tick
        return (" " * offset + drawn).ljust(self.bar_width)[: self.bar_width]

    def _notes(self, row: Row) -> Iterator[Text]:
        below = self.glyphs.pipe if row.has_children else self.glyphs.blank
        indent = self._guides(row, row.guides) + below
        for text, style in self._remarks(row.span):
            lines = Text(clean(text)).wrap(
                self.console, max(20, self.console.width - cell_len(indent))
            )
            for line in lines[:_NOTE_LINES]:
                yield Text.assemble((indent, "dim"), (line.plain, style))

    def _remarks(self, span: Span) -> Iterator[tuple[str, str]]:
        bad = "red" if span.failed else "yellow"
        exceptions = span.exceptions
        for kind, message in exceptions:
            yield ": ".join(filter(None, (kind, message))), bad
        if span.description and not any(
            message and message in span.description for _, message in exceptions
        ):
            yield span.description, bad
        elif span.failed and not exceptions:
            yield str(span.attributes.get("error.type", "failed, with no message")), bad
        for event in span.events:
            if event.name.startswith("obs."):
                yield (
                    f"{event.name}: {', '.join(starmap(remark, event.attributes.items()))}",
                    "yellow",
                )
        for log in self.trace.logs_by_span.get(span.span_id, ()):
            if log.severity >= self.least_severity:
                yield f"{log.level or 'LOG'} {log.body}", "red" if log.severity >= _ERROR else "dim"
        for link in span.links:
            yield self.glyphs.link + self._target(link), "blue"
        parent = self.trace.by_id.get(span.parent_id)
        if parent and 0 < span.start_time < parent.start_time:
            yield (
                f"starts {duration(parent.start_time - span.start_time)} before its parent: the clocks differ",
                "yellow",
            )

    def _target(self, link: Link) -> str:
        if link.trace_id != self.trace.trace_id:
            return f"linked to span {link.span_id} of trace {link.trace_id}"
        here = self.trace.by_id.get(link.span_id)
        if here is None:
            return f"linked to span {link.span_id}, which is not here"
        return f"linked to {here.name}" + (
            f", attempt {here.attempt}" if "celery.retries" in here.attributes else ""
        )
