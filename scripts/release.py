"""Check that a release tag says what its package says: ``python -m scripts.release TAG`` prints the package's folder."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from scripts.changelog import problems
from scripts.matrix import Package, read_package, read_packages

_TAG = re.compile(
    r"(?P<name>[a-z]+(?:-[a-z]+)*)-v(?P<version>\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?)"
)


def package_of(tag: str) -> Package:
    """Return the package that `tag` releases.

    Raises:
        SystemExit: The tag is no release tag, names no package, or differs from pyproject.toml or the changelog.
    """
    found = _TAG.fullmatch(tag)
    if found is None:
        raise SystemExit(
            f"{tag!r} is no release tag: write PACKAGE-vX.Y.Z, for instance obs-celery-v1.2.3"
        )
    packages = {package.name: package for package in read_packages()}
    if found["name"] not in packages:
        raise SystemExit(f"{tag!r} names no package: there are {', '.join(packages)}")
    package = packages[found["name"]]
    if package.project["version"] != found["version"]:
        raise SystemExit(
            f"{tag!r}: pyproject.toml says {package.project['version']}: set the version, or the tag, right"
        )
    check_release(package)
    return package


def check_release(package: Package) -> None:
    """Check that the package's changelog tells of its version.

    Raises:
        SystemExit: It does not.
    """
    if wrong := problems(package):
        raise SystemExit("\n".join(wrong))


def bump(package: Package, version: str, home: Path) -> Package:
    """Return a copy of the package, in a folder of `home`, that is at `version`: for rehearsing a release."""
    folder = home / package.name
    shutil.copytree(
        package.folder,
        folder,
        ignore=shutil.ignore_patterns("tests", "dist", "__pycache__"),
    )
    project = folder / "pyproject.toml"
    old = f'version = "{package.project["version"]}"'
    project.write_text(
        project.read_text(encoding="utf-8").replace(old, f'version = "{version}"', 1),
        encoding="utf-8",
    )
    changelog = folder / "CHANGELOG.md"
    entry = f"## [{version}] - 2026-12-01\n\n### Added\n\n- A rehearsal.\n\n## ["
    changelog.write_text(
        changelog.read_text(encoding="utf-8").replace("## [", entry, 1),
        encoding="utf-8",
    )
    return read_package(folder)


def main(arguments: list[str]) -> int:
    """Print the folder of the package that the tag releases."""
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    print(package_of(arguments[0]).folder.as_posix())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
