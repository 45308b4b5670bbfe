"""Calls of a client library by a task queue's own code, and not by the application."""

from __future__ import annotations

import sys
from types import FrameType

#: The task queue: result backend, broker, heartbeats.
_QUEUE = frozenset({"celery", "kombu", "billiard", "vine", "celery_batches"})
#: Modules that a call may come through.
_GLUE = frozenset(
    {"contextlib", "functools", "threading", "asyncio", "concurrent", "contextvars"}
    | {"obs_core"}
)
_MAX_FRAMES = 40
_MAX_MODULES = 4096


class _Packages(dict[object, str]):
    """The top-level package of each module that has called, by the module's name; faster than asking the name."""

    def __missing__(self, module: object) -> str:
        if len(self) >= _MAX_MODULES:
            self.clear()
        return self.setdefault(module, str(module).partition(".")[0])


_packages = _Packages()


def is_called_by_queue(library: frozenset[str]) -> bool:
    """Whether the nearest caller outside `library` is Celery or kombu.

    False without a `library`. At most 40 frames are looked at, 0.1 µs each; without kombu in the process, none.

    Args:
        library: The top-level packages of client and integration, for instance ``{"redis", "obs_db"}``.
    """
    if not library or "kombu" not in sys.modules:
        return False
    frame: FrameType | None = sys._getframe(1)
    try:
        for _ in range(_MAX_FRAMES):
            package = _packages[frame.f_globals["__name__"]]  # type: ignore[union-attr]
            if package not in library and package not in _GLUE:
                return package in _QUEUE
            frame = frame.f_back  # type: ignore[union-attr]
    except (AttributeError, KeyError, TypeError):
        pass  # the outermost frame, or code of no module
    return False
