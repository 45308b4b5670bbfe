"""A daemon thread for calls that may hang; callers wait with a timeout."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from obs_core._export.wakeup import Signal, start_thread, wait_until
from obs_core._safety.containment import log_failure


class Job:
    """A call on the thread of an `Aside`: done, with its answer, or still under way."""

    __slots__ = ("_call", "answer", "is_done")

    def __init__(self, call: Callable[[], bool]) -> None:
        self._call = call
        self.answer = True
        self.is_done = False

    def run(self) -> None:
        """Make the call; an exception counts as the answer False."""
        try:
            self.answer = self._call()
        except BaseException:  # noqa: BLE001 - a SystemExit too ends this call alone
            self.answer = False
            log_failure("a call of a span processor")
        self.is_done = True


class _Line:
    """The jobs of a thread, which waits for jobs."""

    def __init__(self) -> None:
        self._jobs: deque[Job | None] = deque()
        self._wake = Signal()

    def put(self, job: Job | None) -> None:
        """Append `job`; None ends the thread."""
        self._jobs.append(job)
        self._wake.send()

    def serve(self) -> None:
        """Run the jobs, one after the other."""
        while True:
            self._wake.wait()
            while self._jobs:
                if (job := self._jobs.popleft()) is None:
                    return
                job.run()


class Aside:
    """A daemon thread for calls that may hang; callers wait for the job with a timeout.

    Started ahead by `be_ready`: no thread can start while the interpreter (3.12 and later) shuts down, and that is when
    processors are shut down. Takes no lock, so signal handlers may use this class; a forked child has a new thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines: dict[int, _Line] = {}

    def be_ready(self) -> None:
        """Start the thread of this process, if missing and if threads can still start."""
        if (pid := os.getpid()) not in self._lines:
            line = _Line()
            if self._lines.setdefault(pid, line) is line:
                self._start(pid, line)

    def _start(self, pid: int, line: _Line) -> None:
        try:
            start_thread(line.serve, self._name)
        except RuntimeError:
            del self._lines[pid]

    def begin(self, call: Callable[[], bool], *, is_last: bool = False) -> Job:
        """Run `call` on the thread, which ends after the call that `is_last`; skip the call without a thread."""
        self.be_ready()
        job = Job(call)
        line = self._lines.get(os.getpid())
        if line is None:
            job.is_done = True
            return job
        line.put(job)
        if is_last:
            self._lines.clear()
            line.put(None)
        return job


def outcome(begun: Job, timeout_s: float) -> bool:
    """Return the result, or False if unknown after `timeout_s`."""
    return wait_until(lambda: begun.is_done, timeout_s) and begun.answer
