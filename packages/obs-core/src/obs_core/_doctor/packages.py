"""Doubled instrumentations and version conflicts, from the installed metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import metadata

from packaging.requirements import Requirement

from obs_core._integrations.contrib import contrib_is_active
from obs_core._integrations.discovery import find_instrumentors
from obs_core._integrations.install import install_command
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


def contrib_instrumentors() -> list[metadata.EntryPoint]:
    """The entry points of OpenTelemetry's own instrumentations that are installed, sorted by name."""
    found = metadata.entry_points(group=_CONTRIB)
    return sorted(filter(_is_contribs, found), key=lambda entry: entry.name)


def _is_contribs(entry: metadata.EntryPoint) -> bool:
    return entry.dist is not None and _canonical(entry.dist.name).startswith(
        "opentelemetry-"
    )


def double_instrumentations() -> Iterator[str]:
    """Name each library that both contrib and an obs package instrument, unless ours is built on contrib's."""
    active = set(active_instrumentations())
    ours = {
        entry.name: entry.dist.name
        for entry in find_instrumentors()
        if entry.dist and entry.name in active
    }
    for entry in contrib_instrumentors():
        package = ours.get(_OUR_NAMES.get(entry.name, entry.name))
        if not package or not entry.dist or not contrib_is_active(entry.value):
            continue
        other = entry.dist.name
        if not _builds_on(package, other):
            remedy = f"uninstall {other}, or set OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={entry.name}"
            yield f"{entry.name} is instrumented twice, by {package} and by {other}: {remedy}"


def _builds_on(package: str, other: str) -> bool:
    requirements = map(Requirement, metadata.requires(package) or [])
    names = {_canonical(requirement.name) for requirement in requirements}
    return _canonical(other) in names


def unmet_requirements() -> Iterator[str]:
    """Name each unmet requirement of an OpenTelemetry or obs package.

    OpenTelemetry's packages pin each other with ``==``; pip lets a user upgrade a single package.
    """
    for found in _telemetry_packages():
        for line in found.requires or ():
            problem = _unmet(f"{_canonical(found.name)} {found.version}", line)
            if problem is not None:
                yield problem


def untested_libraries() -> Iterator[str]:
    """Name each installed library outside the range of its instrumentation; contrib's then does nothing."""
    for found in _telemetry_packages():
        yield from version_conflicts(found.name)


@cache
def installed() -> dict[str, metadata.Distribution]:
    """Every installed distribution by its name in lower case with dashes; read once, as it takes a file each."""
    # a broken installation has no name
    return {_canonical(found.name or ""): found for found in metadata.distributions()}


@cache
def version(name: str) -> str | None:
    """The installed version of a distribution, None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def is_telemetry(name: str) -> bool:
    """Whether a distribution of this name is OpenTelemetry's or ours."""
    return name.startswith(("opentelemetry-", "obs-"))


def _telemetry_packages() -> list[metadata.Distribution]:
    found = installed()
    return [found[name] for name in sorted(filter(is_telemetry, found))]


def _unmet(package: str, line: str) -> str | None:
    requirement = Requirement(line)
    if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
        return None
    needed = f"{requirement.name}{requirement.specifier}"
    installed = version(requirement.name)
    if installed is None:
        return f"{package} needs {needed}, which is not installed"
    if requirement.specifier.contains(installed, prereleases=True):
        return None
    fix = install_command(needed)
    return f"{package} needs {needed}, but {installed} is installed: {fix}"
