"""A trace as a coloured tree for the terminal, and the same as plain text."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import cycle

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from obs_view._console import ASCII, UNICODE, is_ascii, print_text, standard_output
from obs_view._model import Span
from obs_view._remarks import Remarks
from obs_view._text import clean, duration, plural
from obs_view._trace import Trace
from obs_view._tree import Row

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
_PLAIN_KINDS = ("INTERNAL", "UNSPECIFIED")


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
        trace: The trace.
        console: Default: standard output, coloured and as wide as the terminal, or plain and 100 columns wide.
        note: Words to add to the header.
        log_level: The least level of log records shown with the span, ``TRACE`` to ``FATAL``, or ``OFF``.
        linked: Traces connected with this trace by links: a line for each below the tree.
    """
    console = console or standard_output()
    for line in _Tree(trace, console, note, linked, log_level).lines():
        print_text(line, console)


def trace_text(trace: Trace, width: int = 100) -> str:
    """Return the tree as plain text, at most `width` cells wide."""
    file = io.StringIO()
    render_trace(
        trace, Console(file=file, width=width, color_system=None, force_terminal=False)
    )
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


class _Tree:
    """The layout of a trace: the widths of the columns, and the lines."""

    def __init__(
        self,
        trace: Trace,
        console: Console,
        note: str,
        linked: Iterable[Trace],
        log_level: str,
    ) -> None:
        self.trace = trace
        self.console = console
        self.note = note
        self.linked = linked
        self.glyphs = UNICODE
        if is_ascii(console):
            self.glyphs = ASCII
        self.remarks = Remarks(trace, log_level, self.glyphs)
        self.colours = dict(zip(trace.services, cycle(_COLOURS), strict=False))
        self._divide(console.width)

    def _divide(self, width: int) -> None:
        """Divide the width among the columns: label, service, kind, bar, and the duration's 8 cells with 4 gaps of 2."""
        names = map(clean, self.trace.services)
        longest = max(map(cell_len, names))
        self.service_width, self.kind_width = min(longest, 16), 0
        if width >= 90:
            self.service_width, self.kind_width = min(longest, 20), 8
        rest = width - self.service_width - self.kind_width - 8 - 4 * 2
        self.levels = max(3, (rest - 40) // 3)
        labels = map(self._label, self.trace.rows)
        wanted = max(sum(map(cell_len, label)) for label in labels)
        self.label_width = max(12, min(wanted, rest - 18))
        self.bar_width = max(1, min(rest - self.label_width, 60))

    def lines(self) -> Iterator[Text]:
        """Yield the header, each span with notes, the linked traces."""
        yield from self._wrapped(self._title())
        ids = [f"correlation {clean(value)}" for value in self.trace.correlation_ids]
        line = self.glyphs.dot.join([f"trace {self.trace.trace_id}", *ids])
        yield from self._wrapped(Text(line, style="dim"))
        for row in self.trace.rows:
            yield self._line(row)
            yield from self._notes(row)
        for other in self.linked:
            facts = f"{clean(other.root.name)}{self.glyphs.dot}{plural(len(other.spans), 'span')}"
            yield from self._wrapped(
                Text(
                    f"{self.glyphs.link}linked with trace {other.trace_id}: {facts}",
                    style="blue",
                )
            )

    def _wrapped(self, text: Text) -> Iterator[Text]:
        yield from text.wrap(self.console, self.console.width)

    def _title(self) -> Text:
        trace = self.trace
        title = Text.assemble(
            (clean(trace.root.name), "bold red" if trace.root.failed else "bold")
        )
        for fact, style in self._facts():
            title.append(self.glyphs.dot + fact, style=style)
        return title

    def _facts(self) -> Iterator[tuple[str, str]]:
        trace = self.trace
        yield duration(trace.duration), ""
        yield plural(len(trace.spans), "span"), ""
        yield plural(len(trace.services), "service"), ""
        if trace.errors:
            yield plural(trace.errors, "error"), "red"
        if trace.missing_parents:
            yield plural(trace.missing_parents, "parent") + " not here", "yellow"
        if trace.kept:
            yield f"kept: {', '.join(trace.kept)}", "yellow"
        if self.note:
            yield self.note, "yellow"

    def _line(self, row: Row) -> Text:
        span, colour = row.span, self.colours[row.span.service]
        guides, mark, name, status, attempt = self._label(row)
        loud = "red" * span.failed
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
        line.append(
            self._pad(clean(span.service), self.service_width), style=colour
        ).append("  ")
        if self.kind_width:
            kind = span.kind * (span.kind not in _PLAIN_KINDS)
            line.append(f"{kind:<{self.kind_width}}  ", style="dim")
        return line.append(self._bar(span), style=loud or colour).append(
            f" {duration(span.duration):>8}"
        )

    def _label(self, row: Row) -> tuple[str, str, str, str, str]:
        """Return the parts of the first column: guides, error mark, name, status code, attempt."""
        span, status, attempt = row.span, "", ""
        code = span.attributes.get("http.response.status_code")
        if code is not None:
            status = f" {clean(code)}"
        if span.attempt > 1:
            attempt = f" attempt {span.attempt}"
        guides = self._guides(row, row.guides[:-1]) + self._branch(row)
        return (
            guides,
            self.glyphs.error * span.failed,
            clean(span.name),
            status,
            attempt,
        )

    def _branch(self, row: Row) -> str:
        if not row.guides:
            return ""
        is_last = row.guides[-1]
        return self.glyphs.elbow if is_last else self.glyphs.tee

    def _guides(self, row: Row, guides: tuple[bool, ...]) -> str:
        glyphs = self.glyphs
        lines = {True: glyphs.blank, False: glyphs.pipe}
        shown = guides[-self.levels :]
        drawn = "".join(map(lines.__getitem__, shown))
        if row.depth <= self.levels + 1:
            return drawn
        return f"{glyphs.cut}{row.depth}{glyphs.cut} {drawn}"

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
        """Draw the span's place in the trace; a span shorter than half a cell is a tick."""
        after_start = max(span.start_time - self.trace.start_time, 0)
        offset = min(self._cells(after_start), self.bar_width - 1)
        drawn = self.glyphs.tick
        if cells := self._cells(span.duration):
            drawn = self.glyphs.bar * cells
        bar = " " * offset + drawn
        return bar.ljust(self.bar_width)[: self.bar_width]

    def _cells(self, nanoseconds: int) -> int:
        """Return how many cells of the bar stand for a time."""
        total = max(1, self.trace.duration)
        return round(nanoseconds * self.bar_width / total)

    def _notes(self, row: Row) -> Iterator[Text]:
        indent = self._guides(row, row.guides)
        indent += self.glyphs.pipe if row.has_children else self.glyphs.blank
        width = max(20, self.console.width - cell_len(indent))
        start = Text.assemble((indent, "dim"))
        for text, style in self.remarks.of(row.span):
            note = Text(clean(text))
            lines = note.wrap(self.console, width)
            for line in lines[:_NOTE_LINES]:
                yield start.copy().append(line.plain, style)
