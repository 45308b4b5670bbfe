"""A release tag is taken only when the tag, pyproject.toml and the changelog agree."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from scripts.changelog import problems
from scripts.matrix import read_packages
from scripts.release import package_of

CORE = next(package for package in read_packages() if package.name == "obs-core")


def test_right_tag_names_its_package() -> None:
    """``obs-core-v<version>`` is obs-core's."""
    assert package_of(f"obs-core-v{CORE.project['version']}").name == "obs-core"


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("obs-core-1.0.0", "no release tag"),
        ("v1.0.0", "no release tag"),
        ("xobs-core-v1.0.0\n", "no release tag"),
        ("obs-corex-v1.0.0", "names no package"),
        ("obs-core-v99.0.0", "pyproject.toml says"),
    ],
)
def test_wrong_tag_is_refused(tag: str, message: str) -> None:
    """The message says what is wrong; a tag that merely contains a right one is not taken."""
    with pytest.raises(SystemExit, match=message):
        package_of(tag)


def test_changelog_without_the_version_is_refused(tmp_path: Path) -> None:
    """A version that the changelog does not have is not released."""
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [0.9.0] - 2026-01-01\n\n### Improved\n"
    )
    package = dataclasses.replace(CORE, folder=tmp_path)
    assert [problem.split(": ", 2)[2] for problem in problems(package)] == [
        f"newest entry is 0.9.0, pyproject.toml says {CORE.project['version']}",
        "unknown heading '### Improved'",
    ]
