"""Flushes asked of the export thread: the caller waits, with a deadline, until the thread has exported all spans."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from obs_core._export.wakeup import wait_until


class _Flush:
    __slots__ = ("is_done", "succeeded")

    def __init__(self) -> None:
        self.is_done = False
        self.succeeded = False


class FlushRequests:
    """The waiting flushes, first come first served; any thread asks, the export thread serves."""

    def __init__(self) -> None:
        self._waiting: deque[_Flush] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def ask(self, wake: Callable[[], None]) -> Callable[[float], bool]:
        """Ask the thread, which `wake` wakes; return what waits so many seconds, and says whether all was exported."""
        flush = _Flush()
        self._waiting.append(flush)
        wake()
        return lambda timeout_s: (
            wait_until(lambda: flush.is_done, timeout_s) and flush.succeeded
        )

    def serve(self, export: Callable[[], bool]) -> None:
        """Call `export` for each waiting flush."""
        while self._waiting:
            flush = self._waiting.popleft()
            flush.succeeded = export()
            flush.is_done = True
