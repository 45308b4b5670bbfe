"""OpenTelemetry's own instrumentation of the same library: active or not."""

from __future__ import annotations

import sys
from typing import Any
from weakref import WeakSet

from obs_core._safety.containment import warn_once


class Contrib:
    """Contrib's instrumentation of a library, which may be switched on or off at any time. Thread-safe.

    Imports nothing: an instrumentation that has not been imported is not active.

    Args:
        instrumentor: ``"opentelemetry.instrumentation.celery:CeleryInstrumentor"``.
        package: Our distribution for the same library, for instance ``"obs-celery"``.
    """

    __slots__ = (
        "_instrumentor",
        "class_name",
        "covers_all",
        "module",
        "package",
        "singles",
    )

    def __init__(self, instrumentor: str, *, package: str) -> None:
        module, _, class_name = instrumentor.partition(":")
        self.module: str = module
        self.class_name: str = class_name
        self.package: str = package
        self._instrumentor: Any = None
        #: Whether our call has switched it on, for all of the library.
        self.covers_all: bool = False
        #: The single targets that it traces at our request, which ours leaves out; None until the first.
        self.singles: WeakSet[Any] | None = None

    def is_active(self) -> bool:
        """Whether it is switched on now; cheap enough to ask at each call."""
        if self._instrumentor is None:
            if self.module not in sys.modules:
                return False
            cls = getattr(sys.modules.get(self.module), self.class_name, None)
            if cls is None:
                return False
            self._instrumentor = cls()  # contrib's instrumentors are singletons
        active: bool = self._instrumentor.is_instrumented_by_opentelemetry
        return active

    def trace_single(self, target: object) -> None:
        """Note that it traces `target` at our request."""
        self.singles = self.singles or WeakSet()
        self.singles.add(target)

    def release(self, target: object) -> None:
        """Take `trace_single` back."""
        if self.singles is not None:
            self.singles.discard(target)
            self.singles = self.singles or None

    def takes_over(self, target: object = None) -> bool:
        """Whether it is switched on, so that it makes the spans; warns once and says how to stop the doubling.

        Args:
            target: Also whether it traces this single target at our request, without a warning.
        """
        if self.singles and target in self.singles:
            return True
        if not self.is_active():
            return False
        name = self.class_name
        warn_once(
            f"contrib:{self.module}:{name}",
            f"{name} is active as well as {self.package}: not instrumenting twice. Remove one "
            f"of them, for instance by {name}().uninstrument() before calling {self.package}.",
        )
        return True


def contrib_is_active(instrumentor: str) -> bool:
    """Whether contrib's `instrumentor` (``"opentelemetry.instrumentation.celery:CeleryInstrumentor"``) is switched on."""
    return Contrib(instrumentor, package="").is_active()


def warn_if_contrib_is_active(instrumentor: str, *, package: str) -> bool:
    """Whether contrib instruments the same library already; if so, warn once and say how to stop the doubling."""
    return Contrib(instrumentor, package=package).takes_over()
