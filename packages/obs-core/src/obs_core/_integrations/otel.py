"""The classes that ``opentelemetry-instrument`` loads from the entry points ``opentelemetry_instrumentor``."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import entry_points

from obs_core._integrations.requirements import version_conflicts
from obs_core._safety.containment import warn_once
from obs_core.exceptions import MissingDependencyError

_GROUP = "opentelemetry_instrumentor"
_DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"


class OtelInstrumentor:
    """An instrumentation with its default options, as ``opentelemetry-instrument`` calls it."""

    def instrument(self, **_: object) -> None:
        """Instrument; options are ignored: those of ``opentelemetry-instrument`` concern its own checks."""
        raise NotImplementedError

    def uninstrument(self, **_: object) -> None:
        """Undo `instrument`."""
        raise NotImplementedError


def otel_instrumentor(
    name: str,
    instrument: Callable[[], object],
    uninstrument: Callable[[], object],
    *,
    contrib: str | None = None,
) -> type[OtelInstrumentor]:
    """Return the class `name` for an entry point of ``opentelemetry_instrumentor``.

    Args:
        name: For instance ``"MailInstrumentor"``.
        instrument: Called without options. A library that is not installed is skipped: an exception would stop the launcher.
        uninstrument: The inverse.
        contrib: The name of contrib's entry point for the same library, for instance ``"redis"``: where the launcher runs
            contrib's as well, before or after, ours does nothing and warns once.
    """

    class Instrumentor(OtelInstrumentor):
        def instrument(self, **_: object) -> None:
            if contrib is None or not _launcher_runs_contrib(contrib):
                with suppress(MissingDependencyError):
                    instrument()

        def uninstrument(self, **_: object) -> None:
            uninstrument()

    Instrumentor.__name__ = Instrumentor.__qualname__ = name
    return Instrumentor


def _launcher_runs_contrib(name: str) -> bool:
    """Whether ``opentelemetry-instrument`` runs contrib's instrumentation `name`; warns once."""
    contrib = f"opentelemetry-instrumentation-{name}"
    found = entry_points(group=_GROUP, name=name)
    is_installed = any(each.dist and each.dist.name == contrib for each in found)
    disabled = {word.strip() for word in os.environ.get(_DISABLED, "").split(",")}
    if not is_installed or disabled & {name, "*"} or version_conflicts(contrib):
        return False
    warn_once(
        f"launcher:{name}",
        f"{contrib} is installed too: {name} is not instrumented twice. Uninstall it, or set {_DISABLED}={name}.",
    )
    return True
