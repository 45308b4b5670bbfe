"""The install lines of the documents: from a clone, until the packages are on an index.

``python -m scripts.installs`` prints each line in both forms; ``--index`` rewrites the documents, once the packages are on one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.matrix import read_packages

ROOT = Path(__file__).parent.parent
PAGES = ("*.md", "docs/**/*.md", "packages/*/README.md", "examples/**/*.md")
SOURCES = (
    *("packages/*/src/**/*.py", "packages/*/src/**/*.js", "packages/*/CHANGELOG.md"),
    *("examples/**/*.py", "deploy/**/*.md", "findings/*.md"),
)
_COMMAND = re.compile(r"pip install ((?:\\\n|[^`\n#&])+)")
_NAMES = r"(?:(?P<several>obs-\{[a-z,]+\})|(?P<one>[a-z-]+))(?P<extras>\[[a-z,]+\])?"
_PATH = re.compile(rf"""(?P<quote>['"]?)(?:\./packages|\$OBS)/{_NAMES}(?P=quote)""")
NOT_YET = "In the root of a clone, as the packages are on no index yet:\n\n"


def files(*patterns: str) -> list[Path]:
    """The files of the repository that fit one of `patterns`, sorted."""
    return sorted({path for pattern in patterns for path in ROOT.glob(pattern)})


def commands(text: str) -> Iterator[str]:
    """Yield what stands after each ``pip install`` of `text`, on one line."""
    for found in _COMMAND.finditer(text):
        yield " ".join(found[1].replace("\\\n", " ").split())


def needs_an_index(command: str) -> list[str]:
    """The words of `command` that name a package of ours, or leave its name to be filled in, without a path to it."""
    names = "|".join(package.name for package in read_packages())
    return re.findall(rf"""(?<![\w./{{,-])(?:{names}|{{\w+}})(?![\w/-])""", command)


def on_an_index(command: str) -> str:
    """Return `command` with the names of our packages in place of their paths in a clone."""
    return _PATH.sub(_named, command)


def _named(path: re.Match[str]) -> str:
    name, extras = path["several"] or path["one"], path["extras"]
    return f"'{name}{extras}'" if extras else name


def write_index(wheels: Path) -> str:
    """Make the folder `wheels` a package index (PEP 503), of links to the wheels in it; return its URL."""
    for wheel in wheels.glob("*.whl"):
        page = wheels / "simple" / wheel.name.partition("-")[0].replace("_", "-")
        page.mkdir(parents=True, exist_ok=True)
        with (page / "index.html").open("a", encoding="utf-8") as links:
            links.write(f'<a href="{wheel.as_uri()}">{wheel.name}</a>\n')
    return (wheels / "simple").as_uri()


def main(arguments: list[str]) -> int:
    """Print the lines of the documents, or rewrite them."""
    for page in files(*PAGES):
        text = page.read_text(encoding="utf-8")
        changed = _COMMAND.sub(lambda found: on_an_index(found[0]), text)
        changed = changed.replace(NOT_YET, "")
        if "--index" in arguments:
            page.write_text(changed, encoding="utf-8")
            continue
        for command in commands(text):
            print(f"{page.relative_to(ROOT)}: {command}\n  {on_an_index(command)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
