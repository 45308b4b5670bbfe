"""Contain span processors of the user: log their exceptions, and leave a hanging call behind."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from functools import partial

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

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
    """Jobs for one thread, which waits for them."""

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


class FencedProcessor(SpanProcessor):
    """Calls `inner` exactly as the SDK does, never raises, and bounds its flush and shutdown by `timeout_s` (or as asked).

    `inner` may be anything with a span processor's methods: a subclass, a proxy, a mock.
    """

    def __init__(self, inner: SpanProcessor, timeout_s: float) -> None:
        self._inner = inner
        self._timeout_s = timeout_s
        self._name = type(inner).__name__
        self._aside = Aside(f"obs-core-{self._name}")
        self._may_hang = _may_hang(inner)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Forward, contained."""
        if self._may_hang:
            self._aside.be_ready()
        try:
            self._inner.on_start(span, parent_context=parent_context)
        except Exception:  # noqa: BLE001 - a user's processor may raise anything
            log_failure(f"{self._name}.on_start")

    def _on_ending(self, span: Span) -> None:
        try:
            # private to the SDK: who implements the specification alone has none
            on_ending = getattr(self._inner, "_on_ending", None)
            if on_ending is not None:
                on_ending(span)
        except Exception:  # noqa: BLE001 - a user's processor may raise anything
            log_failure(f"{self._name}._on_ending")

    def on_end(self, span: ReadableSpan) -> None:
        """Forward, contained."""
        try:
            self._inner.on_end(span)
        except Exception:  # noqa: BLE001 - a user's processor may raise anything
            log_failure(f"{self._name}.on_end")

    def shutdown(self) -> None:
        """Shut down within `timeout_s`."""
        outcome(self.begin_shutdown(), self._timeout_s)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush within `timeout_millis`; False if not finished by then."""
        return outcome(self.begin_flush(timeout_millis), timeout_millis / 1000)

    def begin_shutdown(self) -> Job:
        """Shut down, aside."""
        return self._aside.begin(partial(self._end, "shutdown"), is_last=True)

    def begin_flush(self, timeout_millis: int) -> Job:
        """Flush, aside."""
        return self._aside.begin(partial(self._end, "force_flush", timeout_millis))

    def _end(self, method: str, *arguments: int) -> bool:
        try:
            return getattr(self._inner, method)(*arguments) is not False
        except Exception:  # noqa: BLE001 - a user's processor may raise anything
            log_failure(f"{self._name}.{method}")
            return False


def _may_hang(processor: SpanProcessor) -> bool:
    """Whether `processor` has its own shutdown or flush; a processor that only sets attributes needs no thread."""
    return any(not _is_inherited(processor, name) for name in ("shutdown", "force_flush"))


def _is_inherited(processor: SpanProcessor, name: str) -> bool:
    """Whether a method is that of the SDK's base class, which does nothing."""
    try:
        method = getattr(processor, name)
        return getattr(method, "__func__", None) is getattr(SpanProcessor, name)
    except Exception:  # noqa: BLE001 - a proxy may raise anything
        return False


def outcome(begun: Job, timeout_s: float) -> bool:
    """Return the result, or False if unknown after `timeout_s`."""
    return wait_until(lambda: begun.is_done, timeout_s) and begun.answer
