"""What goes wrong within a loaded service, each by its name: code that raises or hangs, floods, forks, clocks, the disk."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter


class Trouble:
    """No trouble; the base of the others.

    Attributes:
        factor: Multiplies the load's rate.
        factor_meant: The factor while the trouble is on.
        is_on: Whether the trouble is under way.
        manager: The service's `TracingManager`, once set up.
        call: Makes a call of the service, with a span of the given name.
    """

    factor = factor_meant = 1
    is_on = False
    manager: Any = None
    call: Callable[[str], None]

    def begin(self) -> None:
        """Begin; called by a signal handler."""
        self.is_on = True

    def end(self) -> None:
        """End; called by a signal handler."""
        self.is_on = False

    def setup(self) -> dict[str, Any]:
        """Return options of `setup_tracing`."""
        return {}

    def attributes(self) -> dict[str, Any]:
        """Return attributes of the next span."""
        return {}

    def tick(self) -> None:
        """Do what is done a hundred times a second."""


class ProcessorRaises(Trouble):
    """A span processor of the user that raises in all methods."""

    def setup(self) -> dict[str, Any]:
        trouble = self

        class Raising(SpanProcessor):
            def on_start(self, span: Any, parent_context: Any = None) -> None:
                _raise_if(trouble.is_on)

            def on_end(self, span: Any) -> None:
                _raise_if(trouble.is_on)

            def shutdown(self) -> None:
                _raise_if(True)

            def force_flush(self, timeout_millis: int = 30000) -> bool:
                _raise_if(True)
                return True

        return {"span_processors": [Raising()]}


class ProcessorHangs(Trouble):
    """A span processor of the user whose flush and shutdown never return."""

    def setup(self) -> dict[str, Any]:
        class Hanging(SpanProcessor):
            def shutdown(self) -> None:
                threading.Event().wait()

            def force_flush(self, timeout_millis: int = 30000) -> bool:
                threading.Event().wait()
                return True

        return {"span_processors": [Hanging()]}


class ExporterRaises(Trouble):
    """An exporter of the user that raises."""

    def setup(self) -> dict[str, Any]:
        class Raising(SpanExporter):
            def export(self, spans: Any) -> Any:
                raise OSError("as asked")

            def shutdown(self) -> None:
                raise OSError("as asked")

        return {"span_exporter": Raising()}


class ExporterHangs(Trouble):
    """An exporter of the user that never returns."""

    def setup(self) -> dict[str, Any]:
        class Hanging(SpanExporter):
            def export(self, spans: Any) -> Any:
                threading.Event().wait()

            def shutdown(self) -> None:
                threading.Event().wait()

        return {"span_exporter": Hanging()}


class Flood(Trouble):
    """Ten times the load."""

    factor_meant = 10

    def begin(self) -> None:
        self.factor = self.factor_meant

    def end(self) -> None:
        self.factor = 1


class LargeAttributes(Trouble):
    """One span in a hundred has an attribute of 1 MB."""

    _number = 0

    def attributes(self) -> dict[str, Any]:
        self._number += 1
        if self.is_on and self._number % 100 == 0:
            return {"document": "x" * 1_000_000}
        return {}


class Forks(Trouble):
    """A child a tick, at most four at once, each of which makes a call, flushes, says if that was in vain, and goes."""

    def __init__(self) -> None:
        self._children: set[int] = set()

    def tick(self) -> None:
        self._reap(0 if self.is_on else 20.0)
        if not self.is_on or len(self._children) >= 4:
            return
        child = os.fork()
        if child:
            self._children.add(child)
            return
        try:
            name = f"{os.getpid()}.0"
            self.call(name)
            os.write(1, f"{name}\n".encode())
            if not self.manager.flush(20):
                os.write(1, b"lost\n")
        finally:
            os._exit(0)

    def _reap(self, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while self._children:
            for child in list(self._children):
                if os.waitpid(child, os.WNOHANG)[0]:
                    self._children.discard(child)
            if time.monotonic() >= deadline:
                return


class ClockJumps(Trouble):
    """The wall clock leaps an hour ahead, and two hours back, as after a correction; replaced in this process alone."""

    def begin(self) -> None:
        self._leap(3600)

    def end(self) -> None:
        self._leap(-3600)

    def _leap(self, seconds: int) -> None:
        of_kernel, of_kernel_ns = time.clock_gettime, time.clock_gettime_ns
        clock = time.CLOCK_REALTIME
        time.time = lambda: of_kernel(clock) + seconds
        time.time_ns = lambda: of_kernel_ns(clock) + seconds * 10**9


class DiskFull(Trouble):
    """The kernel lets no file grow; pipes do."""

    def begin(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def end(self) -> None:
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )


def _raise_if(is_on: bool) -> None:
    if is_on:
        raise RuntimeError("as asked")


TROUBLES: dict[str, type[Trouble]] = {
    kind.__name__: kind for kind in Trouble.__subclasses__()
}
