"""The libraries that a package instruments: installed or missing, in a supported version or not."""

from __future__ import annotations

import sys

from obs_core._safety.containment import warn_once
from obs_core.exceptions import MissingDependencyError


def require(module: str, *, package: str) -> None:
    """Raise `MissingDependencyError` with the install command unless `module` can be imported.

    Args:
        module: Import name of the optional library, for instance ``"celery"``.
        package: Our distribution that wants it, for instance ``"obs-celery"``.
    """
    from importlib.util import find_spec

    if module not in sys.modules and find_spec(module) is None:
        from obs_core._integrations.install import libraries_command

        fix = libraries_command(package, module)
        raise MissingDependencyError(
            f"{package} needs {module}, which is not installed: {fix}"
        )


def version_conflicts(package: str) -> list[str]:
    """List the installed libraries outside the range that `package` declares in its extra, a line each.

    The extra is ``instruments``, or ``instruments-any`` where any of several libraries is enough. An absent library is no
    conflict. Read from the installed metadata, the only copy of the range.
    """
    from importlib import metadata

    from obs_core._integrations.install import instrumented

    conflicts = []
    for requirement in instrumented(package):
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
    """Log a warning when the installed `library` is outside the range `package` supports."""
    for conflict in version_conflicts(package):
        if conflict.startswith(f"{library} "):
            warn_once(f"version:{package}:{library}", conflict)
