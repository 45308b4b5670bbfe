"""Printing to a console: characters, width, and lines that the console can show."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from rich.console import Console
from rich.text import Text


class Glyphs(NamedTuple):
    """The characters of a drawn tree."""

    pipe: str
    blank: str
    tee: str
    elbow: str
    bar: str
    tick: str
    error: str
    link: str
    dot: str
    cut: str


UNICODE = Glyphs("│  ", "   ", "├─ ", "└─ ", "━", "╸", "✗ ", "↪ ", " · ", "…")
ASCII = Glyphs("|  ", "   ", "|- ", "`- ", "=", "-", "x ", "-> ", " - ", "~")


def print_line(text: str) -> None:
    """Print a line of text to standard output, in the style of `render_trace`."""
    print_text(Text(text + "\n", style="dim"), standard_output())


def print_text(line: Text, console: Console) -> None:
    """Print a line, in ASCII where the console has no more."""
    if is_ascii(console):
        # the same length, so that the colours stay where they are
        plain = (
            line.plain.replace("µ", "u")
            .replace("\N{MULTIPLICATION SIGN}", "x")
            .replace("·", "-")
        )
        line.plain = plain.encode("ascii", "replace").decode()
    console.print(line, no_wrap=True, overflow="crop", highlight=False)


def standard_output() -> Console:
    """Return a console on standard output: as wide as the terminal, or 100 columns."""
    # rich takes 80 columns for a file or a pipe, which is narrow for a log
    plain = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=100 if plain else None)


def is_ascii(console: Console) -> bool:
    """Whether the console shows ASCII alone."""
    return bool(console.options.ascii_only)
