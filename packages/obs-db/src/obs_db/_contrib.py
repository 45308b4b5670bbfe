"""Contrib's instrumentation of a library, which may be switched on after ours: a call is told once all the same."""

from __future__ import annotations

import sys

from obs_core.integration import contrib_is_active, warn_if_contrib_is_active


class Contrib:
    """Contrib's instrumentor of one library.

    Args:
        instrumentor: ``"module:Class"``.
    """

    def __init__(self, instrumentor: str) -> None:
        self._instrumentor = instrumentor
        self.module = instrumentor.partition(":")[0]

    def is_active(self) -> bool:
        """Whether it is switched on; asked at each recorded call, so next to nothing where it has not been imported."""
        return self.module in sys.modules and contrib_is_active(self._instrumentor)

    def takes_over(self) -> bool:
        """Whether it is switched on, so that the spans are its own; says so once."""
        return self.module in sys.modules and warn_if_contrib_is_active(self._instrumentor, package="obs-db")
