"""Contrib's instrumentation of a library, which may be switched on after ours: a call is told once all the same."""

from __future__ import annotations

import sys
from typing import Any

from obs_core.integration import warn_if_contrib_is_active


class Contrib:
    """Contrib's instrumentor of one library.

    Args:
        instrumentor: ``"module:Class"``.
    """

    def __init__(self, instrumentor: str) -> None:
        self._path = instrumentor
        self.module, _, self._class = instrumentor.partition(":")
        self._instrumentor: Any = None

    def is_active(self) -> bool:
        """Whether it is switched on; asked at each recorded call, so it imports nothing and costs next to nothing."""
        if self._instrumentor is None:
            cls = getattr(sys.modules.get(self.module), self._class, None)
            if cls is None:
                return False
            self._instrumentor = cls()  # always the same object
        return bool(self._instrumentor.is_instrumented_by_opentelemetry)

    def takes_over(self) -> bool:
        """Whether it is switched on, so that the spans are its own; says so once."""
        return self.is_active() and warn_if_contrib_is_active(self._path, package="obs-db")
