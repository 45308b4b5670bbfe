"""Waiting that works however the thread waits: natively, or as a greenlet of gevent or eventlet.

Those replace `threading`'s primitives when they patch, which may be after the set-up. So a primitive
is made by, or just before, the thread that waits on it; and where one kind of thread wakes the other,
which eventlet's locks do not notice, the waiting thread looks again every `LOOK_AGAIN_S`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

#: Seconds after which a waiting thread looks whether it has missed its signal.
LOOK_AGAIN_S = 0.05


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
        if self._lock.locked():  # eventlet's lock counts what is released too often
            with suppress(RuntimeError):  # sent already
                self._lock.release()

    def wait(self, timeout_s: float) -> bool:
        """Wait for `send`, and take it; False after `timeout_s` without one."""
        return self._lock.acquire(timeout=min(timeout_s, threading.TIMEOUT_MAX))


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Sleep until `condition` holds; False when it does not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    pause_s = 0.001
    while not condition():
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return False
        time.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, LOOK_AGAIN_S)
    return True
