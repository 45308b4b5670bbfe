"""Troubles with forked children: storms of them, children that are killed, and children without memory."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from contextlib import suppress

from tests.faults.trouble import Trouble

#: Children at once.
MOST = 4


class Children(Trouble):
    """A child a tick, at most `MOST` at once; at the end all are waited for."""

    def __init__(self) -> None:
        self._children: dict[int, float] = {}
        self._random = random.Random(20)

    def tick(self) -> None:
        self._reap(0 if self.is_on else 20.0)
        if not self.is_on or len(self._children) >= MOST:
            return
        life_s = self._random.uniform(0.0, 0.3)
        child = os.fork()
        if child:
            self._children[child] = time.monotonic() + life_s
            return
        try:
            self.live()
        finally:
            os._exit(0)

    def live(self) -> None:
        """Be a child."""
        raise NotImplementedError

    def make(self, number: int = 0) -> None:
        """Make a call, and print its name."""
        name = f"{os.getpid()}.{number}"
        self.call(name)
        os.write(1, f"{name}\n".encode())

    def look_after(self, child: int, until: float) -> None:
        """Do what is to be done to a living child, whose time is over at `until`."""

    def _reap(self, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while self._children:
            for child, until in list(self._children.items()):
                self.look_after(child, until)
                if os.waitpid(child, os.WNOHANG)[0]:
                    del self._children[child]
            if time.monotonic() >= deadline:
                return


class Forks(Children):
    """Each child makes a call, flushes, says if that was in vain, and goes."""

    def live(self) -> None:
        self.make()
        if not self.manager.flush(20):
            os.write(1, b"lost\n")


class ChildrenKilled(Children):
    """Each child makes calls until it is killed, at a random moment, as the kernel does when memory is short."""

    def live(self) -> None:
        number = 0
        while True:
            self.make(number)
            number += 1
            time.sleep(0.01)

    def look_after(self, child: int, until: float) -> None:
        if time.monotonic() >= until:
            os.kill(child, signal.SIGKILL)


class NoMemory(Children):
    """Each child makes a call when the kernel gives it no memory any more: not even a thread's stack, or just that.

    It tells what it counts as lost: what neither the collector nor the disk has.
    """

    def live(self) -> None:
        left = (1, 16, 64)[os.getpid() % 3] * 2**20
        most = _size() + left
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        with suppress(MemoryError):
            bytearray(2 * left)
        self.make()
        self.manager.shutdown()
        found = self.manager.stats()
        lost = found.failed + found.dropped_queue_full + found.dropped_outage
        os.write(1, b"lost\n" * lost)


def _size() -> int:
    """The bytes of address space of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no more memory than needed
        return int(file.read().split()[0]) * resource.getpagesize()
