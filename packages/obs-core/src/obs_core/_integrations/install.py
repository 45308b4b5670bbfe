"""Install commands for messages: they work wherever our packages came from, an index, a clone or a repository."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_OURS = ("obs-", "distributed-observability-")
EXTRAS = ("instruments", "instruments-any")


def install_command(*wanted: str) -> str:
    """Return the pip command for requirements, those of ours such as ``"obs-db[instruments]"`` from where obs-core came.

    In a clone that is a folder, since an index may have another's package by that name; for a repository its address. Read
    from the installed metadata (PEP 610).
    """
    came = _came_from()
    return _pip(_located(requirement, came) for requirement in wanted)


def libraries_command(package: str, module: str) -> str:
    """Return the pip command for the library that `package` instruments and imports as `module`, in the declared range."""
    found = list(instrumented(package))
    named = [line for line in found if line.name.lower() == module.lower()]
    if not found:
        return install_command(f"{package}[instruments]")
    return _pip(f"{line.name}{line.specifier}" for line in named or found)


def instrumented(package: str) -> Iterator[Requirement]:
    """Yield the requirements of the extra ``instruments`` of `package`, the only copy of the ranges; none if it is absent."""
    from packaging.requirements import Requirement

    try:
        declared = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return
    for requirement in map(Requirement, declared):
        marker = requirement.marker
        if marker is None or "extra" not in str(marker) or requirement.name == package:
            continue
        if any(marker.evaluate({"extra": extra}) for extra in EXTRAS):
            yield requirement


def _pip(words: Iterator[str]) -> str:
    return " ".join(["pip install", *(f"'{word}'" for word in words)])


def _came_from() -> dict[str, Any]:
    try:
        text = metadata.distribution("obs-core").read_text("direct_url.json")
        came = json.loads(text or "{}")
        return came if isinstance(came, dict) else {}
    except (metadata.PackageNotFoundError, ValueError):
        return {}


def _located(requirement: str, came: dict[str, Any]) -> str:
    name = re.split(r"[\[<>=!~ ]", requirement)[0]
    plain = re.sub(r"[<>=!~ ].*", "", requirement)
    if not name.startswith(_OURS):
        return requirement
    if "dir_info" in came:
        from urllib.parse import urlsplit
        from urllib.request import url2pathname

        packages = Path(url2pathname(urlsplit(came["url"]).path)).parent
        return f"{packages}/{plain}" if (packages / name).is_dir() else requirement
    if "vcs_info" in came:
        folder = came.get("subdirectory", "").removesuffix("obs-core")
        return f"{plain} @ {_repository(came)}#subdirectory={folder}{name}"
    return requirement


def _repository(came: dict[str, Any]) -> str:
    source = came["vcs_info"]
    revision = source.get("requested_revision") or source["commit_id"]
    return f"{source['vcs']}+{came['url']}@{revision}"
