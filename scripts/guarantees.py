"""Keep docs/guarantees.md and the tests equal: each promise names its tests, each marked test its promise.

``python -m scripts.guarantees`` checks; ``--write`` writes the tests' column anew.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "guarantees.md"
_ROW = re.compile(r"^\| (?P<id>[A-Z]+-\d+) \| (?P<text>.*?) \| (?P<tests>.*?) \|$")


def marked_tests(root: Path = ROOT) -> dict[str, list[str]]:
    """Return promise id → the tests marked with it, as ``package/test_file::test``."""
    found: dict[str, list[str]] = {}
    for path in sorted(
        [*root.glob("packages/*/tests/**/test_*.py"), *root.glob("tests/test_*.py")]
    ):
        for promise, test in _marks(path):
            name = f"{path.relative_to(root).as_posix()}::{test}"
            found.setdefault(promise, []).append(name)
    return found


def _marks(path: Path) -> Iterator[tuple[str, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    whole_module = [
        promise
        for node in tree.body
        if isinstance(node, ast.Assign)
        for promise in _promises(node.value)
    ]
    for node in ast.walk(tree):
        if isinstance(
            node, (ast.FunctionDef, ast.AsyncFunctionDef)
        ) and node.name.startswith("test"):
            own = [
                promise
                for decorator in node.decorator_list
                for promise in _promises(decorator)
            ]
            yield from (
                (promise, node.name) for promise in dict.fromkeys([*own, *whole_module])
            )


def _promises(node: ast.expr) -> list[str]:
    return [
        str(argument.value)
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "promise"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    ]


def render(text: str, tests: dict[str, list[str]]) -> str:
    """Return the page's `text` with the tests' column from `tests`; a row that says why there is none keeps saying so."""
    return "\n".join(_row(line, tests) for line in text.splitlines()) + "\n"


def _row(line: str, tests: dict[str, list[str]]) -> str:
    row = _ROW.match(line)
    if row is None:
        return line
    names = tests.get(row["id"], [])
    cell = "<br>".join(
        f"`{name.removeprefix('packages/').replace('/tests/', '/')}`" for name in names
    )
    kept = (
        row["tests"]
        if row["tests"].startswith(("not ", "measured by "))
        else "not proved yet"
    )
    return f"| {row['id']} | {row['text']} | {cell or kept} |"


def problems(text: str, tests: dict[str, list[str]]) -> list[str]:
    """Return where the page and the tests differ, a line each."""
    listed = {row["id"] for row in map(_ROW.match, text.splitlines()) if row}
    found = [
        f"{promise} is marked on {names[0]} but not listed"
        for promise, names in tests.items()
        if promise not in listed
    ]
    if render(text, tests) != text:
        found.append(
            "the tests' column is out of date: python -m scripts.guarantees --write"
        )
    return found


def main(arguments: list[str]) -> int:
    """Check or write the page."""
    text, tests = PAGE.read_text(encoding="utf-8"), marked_tests()
    if "--write" in arguments:
        text = render(text, tests)
        PAGE.write_text(text, encoding="utf-8")
    found = problems(text, tests)
    print("\n".join(found) or "docs/guarantees.md and the tests agree")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
