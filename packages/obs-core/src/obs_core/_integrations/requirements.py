"""Say, once and in time, that a library's version is outside what a package supports, or that contrib is active too."""

from __future__ import annotations

import sys

from obs_core._safety.containment import warn_once
from obs_core.exceptions import MissingDependencyError

_EXTRAS = ("instruments", "instruments-any")


def require(module: str, *, package: str) -> None:
    """Raise `MissingDependencyError` with the install command unless `module` can be imported.

    Args:
        module: Import name of the optional library, for instance ``"celery"``.
        package: Our distribution that wants it, for instance ``"obs-celery"``.
    """
    from importlib.util import find_spec

    if module not in sys.modules and find_spec(module) is None:
        raise MissingDependencyError(
            f"{package} needs {module}, which is not installed: pip install '{package}[instruments]'"
        )


def version_conflicts(package: str) -> list[str]:
    """List the installed libraries outside the range that `package` declares in its extra, a line each.

    The extra is ``instruments`` or, where any one of several libraries is enough, ``instruments-any``.

    A library that is absent is no conflict. Read from the installed metadata, the only copy of the range.
    """
    from importlib import metadata

    from packaging.requirements import Requirement

    conflicts = []
    try:
        declared = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return []
    for line in declared:
        requirement = Requirement(line)
        if requirement.marker is None or "extra" not in str(requirement.marker):
            continue
        if not any(requirement.marker.evaluate({"extra": extra}) for extra in _EXTRAS):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            conflicts.append(
                f"{requirement.name} {version} is outside {requirement.specifier}, which {package} is tested with"
            )
    return conflicts


def warn_unsupported_version(package: str, library: str) -> None:
    """Log one warning when the installed `library` is outside the range `package` supports; it is instrumented all the same."""
    for conflict in version_conflicts(package):
        if conflict.startswith(f"{library} "):
            warn_once(f"version:{package}:{library}", conflict)


def contrib_is_active(instrumentor: str) -> bool:
    """Whether contrib's `instrumentor` (``"opentelemetry.instrumentation.celery:CeleryInstrumentor"``) is switched on.

    Imports nothing: what has not been imported cannot be active.
    """
    module_name, _, class_name = instrumentor.partition(":")
    cls = getattr(sys.modules.get(module_name), class_name, None)
    return bool(cls is not None and getattr(cls(), "is_instrumented_by_opentelemetry", False))


def warn_if_contrib_is_active(instrumentor: str, *, package: str) -> bool:
    """Tell whether contrib instruments the same library already, with one warning that says how to stop the doubling."""
    active = contrib_is_active(instrumentor)
    if active:
        name = instrumentor.partition(":")[2]
        warn_once(
            f"contrib:{instrumentor}",
            f"{name} is active as well as {package}: not instrumenting twice. Remove one of them, "
            f"for instance by {name}().uninstrument() before calling {package}.",
        )
    return active
