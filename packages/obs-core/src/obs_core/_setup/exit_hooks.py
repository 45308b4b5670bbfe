"""Hooks for ways to end a process that skip `atexit`: SIGTERM, and multiprocessing's ``os._exit``."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

from obs_core._safety.containment import warn_once

Flush = Callable[[], object]


class _FlushThenChain:
    """The SIGTERM handler: flush, then do what the previous handler does."""

    def __init__(
        self, flush: Flush, previous: Callable[[int, FrameType | None], object] | int
    ) -> None:
        self.flush = flush
        self._previous = previous

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.flush()
        if callable(self._previous):
            self._previous(signum, frame)
        elif self._previous != signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)


def flush_on_sigterm(flush: Flush) -> None:
    """Install a SIGTERM handler that calls `flush`, then does what the previous handler does.

    A process without a handler still dies by the signal, with the exit status that supervisors expect. A second call
    replaces the `flush` of the first.

    Raises:
        ValueError: Not called from the main thread (Python's own rule for signal handlers).
    """
    previous = signal.getsignal(signal.SIGTERM)
    if isinstance(previous, _FlushThenChain):
        previous.flush = flush
        return
    if previous is None:
        warn_once(
            "sigterm",
            "SIGTERM has a handler that was not installed from Python: it is left alone, without a flush",
        )
        return
    signal.signal(signal.SIGTERM, _FlushThenChain(flush, previous))


def flush_in_children(flush: Flush, owner: object) -> None:
    """Make multiprocessing's forked children call `flush` as the last step while `owner` lives; this process too, if it is one.

    Those children end by ``os._exit`` after multiprocessing's own finalizers; a finalizer is a public hook. A child of the fork
    server drops the finalizers of its main module's import, and then calls what is registered for after a fork.
    """
    from multiprocessing import parent_process, util

    added: list[util.Finalize] = []

    def add_finalizer(_: object) -> None:
        if not any(finalizer.still_active() for finalizer in added):
            added.append(util.Finalize(None, flush, exitpriority=0))

    util.register_after_fork(owner, add_finalizer)
    if parent_process() is not None:
        add_finalizer(None)
