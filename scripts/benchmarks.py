"""Run the benchmarks and write docs/benchmarks.md from what they print: ``python -m scripts.benchmarks [NAME …]``.

With names, only those run, and only their parts of the page are written. A part that is written by hand is never overwritten:
its script only prints.
"""

from __future__ import annotations

import ast
import os
import platform
import subprocess
import sys
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scripts.plots import draw, read_table

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
PLOTS = ROOT / "docs" / "benchmarks"
PEERS = (
    "opentelemetry-sdk",
    "opentelemetry-instrumentation",
    "logfire",
    "ddtrace",
    "sentry-sdk",
    "traceloop-sdk",
)
#: Whose part of the page is written by hand, from several runs.
BY_HAND = frozenset({"request_instructions"})
_HEAD = """# Benchmarks

Written by `nox -s bench`; every table is one run of the named script, with the peers in the same run, round by round in turn.
Read the ratios: absolute figures belong to the machine. {where}

"""


def benchmarks() -> list[Path]:
    """The scripts, by name; what they share are none."""
    return sorted(
        path
        for path in (ROOT / "benchmarks").glob("*.py")
        if path.stem not in ("providers", "sink", "table", "turns")
    )


def section(script: Path, printed: str) -> str:
    """Return a script's part of the page; a table that compares us gets a plot, and a line that says where we do not lead."""
    docstring = (
        ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or script.stem
    )
    body = printed.strip()
    shown = body if body.startswith("|") else f"```text\n{body}\n```"
    parts = [
        f"## {script.stem}",
        f"{docstring.splitlines()[0]} [Script](../benchmarks/{script.name})",
        shown,
    ]
    table = read_table(body)
    if table is not None:
        PLOTS.mkdir(exist_ok=True)
        draw(table, PLOTS / f"{script.stem}.svg")
        parts.append(f"![{script.stem}: {table.title}](benchmarks/{script.stem}.svg)")
        if behind := table.behind():
            parts.append(f"Where we do not lead: {'; '.join(behind)}.")
    return "\n\n".join(parts) + "\n"


def run(script: Path) -> str:
    """Run a script, its progress on stderr shown; return what it printed.

    Raises:
        CalledProcessError: It failed.
    """
    print(f"— {script.stem} …", flush=True)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    print(done.stdout, flush=True)
    return done.stdout


def where() -> str:
    """Say what was measured, on what."""
    return f"{date.today().isoformat()}, CPython {platform.python_version()}, {os.cpu_count()} cores; {', '.join(_versions())}."


def _versions() -> list[str]:
    found = []
    for name in PEERS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} absent")
    return found


def main(names: list[str]) -> int:
    """Run all, or the named ones, and write what they printed into the page."""
    chosen = [script for script in benchmarks() if not names or script.stem in names]
    present = _present()
    parts = present if names else {name: present[name] for name in BY_HAND & {*present}}
    for script in chosen:
        printed = run(script)
        if script.stem not in BY_HAND:
            parts[script.stem] = section(script, printed)
    PAGE.write_text(
        _HEAD.format(where=where()) + "\n".join(parts[name] for name in sorted(parts)),
        encoding="utf-8",
    )
    return 0


def _present() -> dict[str, str]:
    _, *parts = PAGE.read_text(encoding="utf-8").split("\n## ")
    return {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in parts}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
