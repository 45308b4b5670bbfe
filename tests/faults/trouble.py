"""What goes wrong within a loaded service: the base of all troubles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Trouble:
    """No trouble; the base of the others.

    Attributes:
        factor: Multiplies the load's rate.
        factor_meant: The factor while the trouble is on.
        is_on: Whether the trouble is under way.
        manager: The service's `TracingManager`, once set up.
        call: Makes a call of the service, with a span of the given name.
    """

    factor = factor_meant = 1
    is_on = False
    manager: Any = None
    call: Callable[[str], None]

    def begin(self) -> None:
        """Begin; called by a signal handler."""
        self.is_on = True

    def end(self) -> None:
        """End; called by a signal handler."""
        self.is_on = False

    def setup(self) -> dict[str, Any]:
        """Return options of `setup_tracing`."""
        return {}

    def attributes(self) -> dict[str, Any]:
        """Return attributes of the next span."""
        return {}

    def tick(self) -> None:
        """Do what is done a hundred times a second."""
