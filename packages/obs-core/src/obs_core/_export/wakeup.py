"""Threads that export, and waiting for them, also where gevent or eventlet patch, early or late.

Under gevent the threads are real ones, so that nothing that they do (gRPC blocks) holds up a greenlet.
Under eventlet, whose locks real threads cannot share, they are greenlets. A signal is made just before
the thread that waits for it, since patching in between would change the kind of the thread.
"""

from __future__ import annotations

import _thread
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

#: The longest pause between two looks at a condition, in seconds.
_LONGEST_PAUSE_S = 0.05
#: How long a thread is waited for that does not begin, in seconds.
_LONGEST_START_S = 0.5


def original(module: str, name: str) -> Any:
    """Return `module.name` as it was before gevent patched it."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is None:
        return getattr(import_module(module), name)
    return gevent.get_original(module, name)


class Signal:
    """A flag to wait for. `send` is a single step: a signal handler may interrupt `send` with another `send`.

    `threading.Event.set` is not: interrupted inside by a second `set`, the second waits for the event's lock for ever.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = original("_thread", "allocate_lock")()
        self._lock.acquire()

    def send(self) -> None:
        """Wake the waiting thread, or prevent the next wait from sleeping."""
        if self._lock.locked():  # eventlet's lock counts what is released too often
            with suppress(RuntimeError):  # sent already
                self._lock.release()

    def wait(self, timeout_s: float = threading.TIMEOUT_MAX) -> bool:
        """Wait for `send`, and clear the flag; False after `timeout_s` without `send`."""
        taken: bool = self._lock.acquire(timeout=min(timeout_s, threading.TIMEOUT_MAX))
        return taken


def start_thread(run: Callable[[], None], name: str) -> None:
    """Run `run` on a daemon thread: a real one under gevent too, a greenlet under eventlet.

    Raises:
        RuntimeError: No thread can be started any more: the interpreter shuts down.
    """
    if _is_patched_by_gevent():
        original("_thread", "start_new_thread")(run, ())
    else:
        thread = threading.Thread(
            target=_run_until_forgotten, args=(run,), name=name, daemon=True
        )
        thread._started = _Started()  # type: ignore[attr-defined] # `start` waits for it
        thread.start()


class _Started(threading.Event):
    """Not waited for without an end: a thread that has no memory to begin never says that it has begun."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(_LONGEST_START_S if timeout is None else timeout)


def _run_until_forgotten(run: Callable[[], None]) -> None:
    ident, never = threading.get_ident(), Signal()
    run()
    if threading.get_ident() != ident:
        # patched meanwhile: `threading` no longer finds this thread, and would print so at its end
        never.wait()


def _is_patched_by_gevent() -> bool:
    return original("_thread", "start_new_thread") is not _thread.start_new_thread


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Sleep until `condition` holds; False if not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    pause_s = 0.001
    while not condition():
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not _sleep(min(pause_s, left_s)):
            return False
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    return True


def _sleep(seconds: float) -> bool:
    """Sleep; False where the export thread could not go on meanwhile."""
    try:
        time.sleep(seconds)
    except (AssertionError, RuntimeError):
        # gevent and eventlet run signal handlers in their event loops, which may not wait for themselves
        if not _is_patched_by_gevent():
            return False
        original("time", "sleep")(seconds)
    return True
