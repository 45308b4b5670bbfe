"""Check every package's CHANGELOG.md: Keep a Changelog's form, and an entry for the version in pyproject.toml."""

from __future__ import annotations

import re
import sys

from scripts.matrix import Package, read_packages

_RELEASE = re.compile(
    r"^## \[(?P<version>\d+\.\d+\.\d+)\] - (?P<date>\d{4}-\d{2}-\d{2})$", re.MULTILINE
)
_HEADING = re.compile(r"^### (.+)$", re.MULTILINE)
_KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def problems(package: Package) -> list[str]:
    """Return what is wrong with the package's changelog, a line each."""
    text = (package.folder / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = [found["version"] for found in _RELEASE.finditer(text)]
    found = []
    if not releases:
        found.append("no release heading '## [1.2.3] - 2026-01-31'")
    elif releases[0] != package.project["version"]:
        found.append(
            f"newest entry is {releases[0]}, pyproject.toml says {package.project['version']}"
        )
    found += [
        f"unknown heading '### {kind}'"
        for kind in _HEADING.findall(text)
        if kind not in _KINDS
    ]
    if releases != sorted(
        releases, key=lambda version: tuple(map(int, version.split("."))), reverse=True
    ):
        found.append("releases are not in descending order")
    return [f"{package.name}: CHANGELOG.md: {problem}" for problem in found]


def main() -> int:
    """Print all problems; 1 when there are any."""
    found = [problem for package in read_packages() for problem in problems(package)]
    print("\n".join(found) or "changelogs agree with the versions")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
