"""What goes wrong within a loaded service, each by its name: code that raises or hangs, floods, clocks, the disk."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import threading
import time
from typing import Any

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from tests.faults.children import ChildrenKilled, Forks, NoMemory
from tests.faults.trouble import Trouble


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


class NoLocks(Trouble):
    """The file system has no locks, as some network mounts have none; replaced in this process alone."""

    _flock = staticmethod(fcntl.flock)

    def begin(self) -> None:
        fcntl.flock = self._refuse  # type: ignore[assignment] # never returns

    def end(self) -> None:
        fcntl.flock = self._flock

    def _refuse(self, *_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def _raise_if(is_on: bool) -> None:
    if is_on:
        raise RuntimeError("as asked")


TROUBLES: dict[str, type[Trouble]] = {
    kind.__name__: kind
    for kind in (
        *(ProcessorRaises, ProcessorHangs, ExporterRaises, ExporterHangs),
        *(Flood, LargeAttributes, Forks, ChildrenKilled, NoMemory),
        *(ClockJumps, DiskFull, NoLocks),
    )
}
