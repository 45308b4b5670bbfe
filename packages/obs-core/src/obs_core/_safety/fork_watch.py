"""Notice forks, also those that Python does not know of (uWSGI forks in C).

The kernel empties a certain memory page in each child (``MADV_WIPEONFORK``, Linux 4.14 or later):
reading it takes 26 ns, ``os.getpid`` 150. On other systems the process id is compared.
"""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from collections.abc import Callable

from obs_core._safety.containment import call_contained

_MADV_WIPEONFORK = 18


class ForkWatch:
    """Calls the registered callbacks once in each forked child.

    Python's forks are noticed at once, forks made in C at the next `notice`. Thread-safe; takes no
    lock of the parent, which a thread of the parent may hold for ever.

    Attributes:
        page: The page that forks empty, or None: then the process id is compared.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self.page = _page_that_forks_empty()
        self._callbacks: list[weakref.WeakMethod[Callable[[], None]]] = []
        self._locks = {self._pid: threading.RLock()}
        self._is_entering = False

    def call_in_child(self, callback: Callable[[], None]) -> None:
        """Call the bound method `callback` in each child while its object lives."""
        self._callbacks = [known for known in self._callbacks if known() is not None]
        self._callbacks.append(weakref.WeakMethod(callback))

    def notice(self) -> None:
        """Call the callbacks if this process is a child and has not called them yet."""
        if self.page is None:
            if self._pid != os.getpid():
                self._enter_child()
        elif not self.page[0]:
            self._enter_child()

    def _enter_child(self) -> None:
        pid = os.getpid()
        with self._locks.setdefault(pid, threading.RLock()):
            if self._pid == pid or self._is_entering:
                return
            self._is_entering = True
            for callback in self._callbacks:
                if method := callback():
                    call_contained("entering a forked child", method)
            self._locks = {pid: self._locks[pid]}
            self._pid, self._is_entering = pid, False
            if self.page is not None:
                self.page[0] = 1


def _page_that_forks_empty() -> mmap.mmap | None:
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(_MADV_WIPEONFORK)
    except (OSError, AttributeError, TypeError, ValueError):
        return None
    page[0] = 1
    return page


fork_watch = ForkWatch()
#: Its first byte is 0 in a child that has not been noticed, and where only the process id tells: then call `notice`.
fork_mark: mmap.mmap | bytes = fork_watch.page or b"\x00"
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=fork_watch.notice)
