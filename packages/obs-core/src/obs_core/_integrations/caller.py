"""Calls of a client library by a task queue's own code, and not by the application."""

from __future__ import annotations

import sys
from types import FrameType

#: The task queue: result backend, broker, heartbeats.
_QUEUE = frozenset({"celery", "kombu", "billiard", "vine", "celery_batches"})
#: Modules of the standard library that a call may come through.
_GLUE = frozenset(
    {"contextlib", "functools", "threading", "asyncio", "concurrent", "contextvars"}
)
_MAX_FRAMES = 40


def is_called_by_queue(library: frozenset[str]) -> bool:
    """Whether the nearest caller outside `library` is Celery or kombu.

    For calls outside any trace alone: at most 40 frames are looked at, 0.1 µs each.

    Args:
        library: The client's top-level packages, for instance ``{"redis"}``.
    """
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_MAX_FRAMES):
        if frame is None:
            return False
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in _QUEUE:
            return True
        if (
            package not in library
            and package not in _GLUE
            and not package.startswith("obs_")
        ):
            return False
        frame = frame.f_back
    return False
