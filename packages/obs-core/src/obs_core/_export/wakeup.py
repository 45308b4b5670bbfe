"""Waiting in native threads and in greenlets of gevent or eventlet.

gevent and eventlet replace `threading`'s primitives when patching, possibly after the set-up. Therefore a primitive is
made by, or just before, the waiting thread. If a greenlet and a native thread wake each other, eventlet's locks do not
notice: the waiting thread looks again every `LOOK_AGAIN_S`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

#: Seconds after which a waiting thread looks whether it has missed its signal.
LOOK_AGAIN_S = 0.05


class Signal:
    """A flag to wait for. `send` is a single step: a signal handler may interrupt `send` with another `send`.

    `threading.Event.set` is not: interrupted inside by a second `set`, the second waits for the event's lock for ever.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def send(self) -> None:
        """Wake the waiting thread, or prevent the next wait from sleeping."""
        if self._lock.locked():  # eventlet's lock counts what is released too often
            with suppress(RuntimeError):  # sent already
                self._lock.release()

    def wait(self, timeout_s: float) -> bool:
        """Wait for `send`, and clear the flag; False after `timeout_s` without `send`."""
        return self._lock.acquire(timeout=min(timeout_s, threading.TIMEOUT_MAX))


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Sleep until `condition` holds; False if not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    pause_s = 0.001
    while not condition():
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return False
        time.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, LOOK_AGAIN_S)
    return True
