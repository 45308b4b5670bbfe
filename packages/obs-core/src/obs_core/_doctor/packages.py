"""Installed and active instrumentations, and version conflicts, from the installed metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

from obs_core._integrations.contrib import contrib_is_active
from obs_core._integrations.discovery import find_instrumentors
from obs_core._integrations.registry import active_instrumentations
from obs_core._integrations.requirements import version_conflicts

_CONTRIB = "opentelemetry_instrumentor"
#: Where contrib's name of a library is not ours.
_OUR_NAMES = {
    "botocore": "boto3",
    "aiobotocore": "boto3",
    "asgi": "fastapi",
    "aiohttp-client": "aiohttp_client",
}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _contrib() -> list[metadata.EntryPoint]:
    found = metadata.entry_points(group=_CONTRIB)
    return sorted(
        (e for e in found if e.dist and _canonical(e.dist.name).startswith("opentelemetry-")),
        key=lambda e: e.name,
    )


def instrumentations() -> Iterator[str]:
    """Describe each installed instrumentation, contrib's too, a line each."""
    active = set(active_instrumentations())
    for entry in find_instrumentors():
        yield _line(entry, entry.name in active)
    for entry in _contrib():
        yield _line(entry, contrib_is_active(entry.value))


def _line(entry: metadata.EntryPoint, is_active: bool) -> str:
    source = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown package"
    return f"{entry.name}: {source}, {'active' if is_active else 'installed'}"


def double_instrumentations() -> Iterator[str]:
    """Name each library that both contrib and an obs package instrument, unless ours is built on contrib's."""
    active = set(active_instrumentations())
    ours = {
        entry.name: entry.dist.name
        for entry in find_instrumentors()
        if entry.dist and entry.name in active
    }
    for entry in _contrib():
        package = ours.get(_OUR_NAMES.get(entry.name, entry.name))
        if (
            package
            and entry.dist
            and contrib_is_active(entry.value)
            and not _builds_on(package, entry.dist.name)
        ):
            remedy = f"uninstall {entry.dist.name}, or set OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={entry.name}"
            yield f"{entry.name} is instrumented twice, by {package} and by {entry.dist.name}: {remedy}"


def _builds_on(package: str, other: str) -> bool:
    lines = metadata.requires(package) or []
    return any(_canonical(Requirement(line).name) == _canonical(other) for line in lines)


def unmet_requirements() -> Iterator[str]:
    """Name each unmet requirement of an OpenTelemetry or obs package.

    OpenTelemetry's packages pin each other with ``==``; pip lets a user upgrade a single package.
    """
    for found in _telemetry_packages():
        name = _canonical(found.name)
        yield from (
            text for line in found.requires or () if (text := _unmet(name, found.version, line))
        )


def untested_libraries() -> Iterator[str]:
    """Name each installed library outside the range of its instrumentation; contrib's then does nothing."""
    for found in _telemetry_packages():
        yield from version_conflicts(found.name)


def _telemetry_packages() -> list[metadata.Distribution]:
    named = [found for found in metadata.distributions() if found.name]
    ours = (
        found for found in named if _canonical(found.name).startswith(("opentelemetry-", "obs-"))
    )
    return sorted(ours, key=lambda found: found.name)


def _unmet(name: str, version: str, line: str) -> str | None:
    requirement = Requirement(line)
    if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
        return None
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{name} {version} needs {requirement.name}{requirement.specifier}, which is not installed"
    if requirement.specifier.contains(installed, prereleases=True):
        return None
    fix = f"pip install '{requirement.name}{requirement.specifier}'"
    return f"{name} {version} needs {requirement.name}{requirement.specifier}, but {installed} is installed: {fix}"
