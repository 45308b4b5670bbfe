"""Find the installed obs packages by entry point; obs_core imports no package of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obs_core._integrations.registry import InstrumentationHandle
from obs_core._safety.containment import warn_once
from obs_core.exceptions import MissingDependencyError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

INSTRUMENTORS = "obs_core.instrumentors"
ASGI_MIDDLEWARE = "obs_core.asgi_middleware"


def find_instrumentors() -> list[EntryPoint]:
    """Return the entry points of group ``obs_core.instrumentors``, sorted by name."""
    from importlib.metadata import entry_points

    return sorted(entry_points(group=INSTRUMENTORS), key=lambda found: found.name)


def instrument_all() -> tuple[list[InstrumentationHandle], list[str]]:
    """Call every instrumentor whose library is installed; return the handles, and the failures, a line each."""
    handles: list[InstrumentationHandle] = []
    problems: list[str] = []
    for found in find_instrumentors():
        try:
            result = found.load()()
        except MissingDependencyError:
            continue
        except Exception as error:  # noqa: BLE001 - one broken integration must not stop the service or the others
            problems.append(f"instrumenting {found.name} failed: {error!r}")
            warn_once(f"instrument:{found.name}", problems[-1])
            continue
        if isinstance(result, InstrumentationHandle):
            handles.append(result)
    return handles, problems
