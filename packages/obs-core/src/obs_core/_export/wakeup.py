"""A flag that one thread waits for and any code may raise."""

from __future__ import annotations

import threading
from contextlib import suppress


class Signal:
    """A flag to wait for. `send` is one step, so a signal handler may interrupt it with another `send`.

    `threading.Event.set` is not: interrupted inside by itself, it waits for its own lock for ever.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def send(self) -> None:
        """Wake the waiting thread, or keep it from going to sleep."""
        with suppress(RuntimeError):  # sent already
            self._lock.release()

    def wait(self, timeout_s: float) -> bool:
        """Wait for `send`, and take it; False after `timeout_s` without one."""
        return self._lock.acquire(timeout=min(timeout_s, threading.TIMEOUT_MAX))
