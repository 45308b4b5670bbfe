"""Contrib's instrumentation of a library, perhaps switched on after ours: a call has a single span."""

from __future__ import annotations

import sys
from typing import Any

from obs_core.integration import warn_if_contrib_is_active


class Contrib:
    """Contrib's instrumentor of a library.

    Args:
        instrumentor: ``"module:Class"``.
    """

    def __init__(self, instrumentor: str) -> None:
        self._path = instrumentor
        self.module, _, self._class = instrumentor.partition(":")
        self._instrumentor: Any = None

    def is_active(self) -> bool:
        """Whether contrib's instrumentation is switched on.

        Asked at each recorded call, hence without imports and nearly free.
        """
        if self._instrumentor is None:
            cls = getattr(sys.modules.get(self.module), self._class, None)
            if cls is None:
                return False
            self._instrumentor = cls()  # always the same object
        return bool(self._instrumentor.is_instrumented_by_opentelemetry)

    def takes_over(self) -> bool:
        """Whether contrib's instrumentation is switched on and records the spans; warns once."""
        return self.is_active() and warn_if_contrib_is_active(self._path, package="obs-db")
