"""A service under load: so many calls a second through the real set-up, each timed and told by name.

    python -m tests.faults.service LOAD

`LOAD` is a `Load` as JSON. The name of each span is printed when the span has ended. SIGTERM ends the load; the last line is
an `Outcome` as JSON. SIGUSR1 begins the `trouble` that the load asks for, SIGUSR2 ends it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.faults.trouble import Trouble
from tests.faults.troubles import TROUBLES

TICK_S = 0.01


@dataclass(frozen=True)
class Load:
    """What a service is to do.

    Attributes:
        rate: Calls a second.
        options: Of `TracingConfig`; None: no telemetry at all.
        trouble: A name in `tests.faults.troubles.TROUBLES`, or none.
    """

    rate: float
    options: dict[str, Any] | None
    trouble: str = ""


@dataclass
class Outcome:
    """What came of a load.

    Attributes:
        made: Spans ended.
        errors: Calls that raised.
        p99_s: The 99th percentile of the calls' durations, in seconds.
        stats: `manager.stats()` after the shutdown.
        exit_s: How long the shutdown took, in seconds.
    """

    made: int = 0
    errors: int = 0
    p99_s: float = 0.0
    stats: dict[str, int] = field(default_factory=dict)
    exit_s: float = 0.0


def work() -> int:
    """Be what a call does without telemetry: some tens of microseconds."""
    return sum(range(2000))


class Service:
    """Makes the calls of a load until SIGTERM."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._trouble = TROUBLES.get(load.trouble, Trouble)()
        self._outcome = Outcome()
        self._durations: list[float] = []
        self._is_over = False
        self._call: Callable[[str], object] = lambda name: work()
        self._stop: Callable[[], dict[str, int]] = dict

    def prepare(self) -> None:
        """Set tracing up, if asked for."""
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGUSR1, lambda *_: self._trouble.begin())
        signal.signal(signal.SIGUSR2, lambda *_: self._trouble.end())
        options = self._load.options
        if options is None:
            return
        from obs_core import TracingConfig, setup_tracing
        from opentelemetry import trace

        config = TracingConfig(service_name="drill", **options)
        manager, _ = setup_tracing(config, **self._trouble.setup())
        tracer = trace.get_tracer("drill")

        def call(name: str) -> None:
            attributes = {"route": "/orders/{id}", **self._trouble.attributes()}
            with tracer.start_as_current_span(name, attributes=attributes):
                work()

        def stop() -> dict[str, int]:
            manager.shutdown()
            return asdict(manager.stats())

        self._call, self._stop = call, stop
        self._trouble.manager, self._trouble.call = manager, call

    def _end(self, *_: object) -> None:
        self._is_over = True

    def run(self) -> Outcome:
        """Make calls until the end, at the load's rate on average."""
        say("ready")
        due, last = 0.0, time.monotonic()
        while not self._is_over:
            time.sleep(TICK_S)
            now = time.monotonic()
            due += (now - last) * self._load.rate * self._trouble.factor
            last = now
            while due >= 1 and not self._is_over:
                due -= 1
                self._make_a_call()
            self._trouble.tick()
        return self._finish()

    def _make_a_call(self) -> None:
        name = f"{os.getpid()}.{self._outcome.made}"
        began = time.perf_counter()
        try:
            self._call(name)
        except Exception:
            self._outcome.errors += 1
        self._durations.append(time.perf_counter() - began)
        self._outcome.made += 1
        say(name)

    def _finish(self) -> Outcome:
        found, durations = self._outcome, sorted(self._durations)
        if durations:
            found.p99_s = durations[len(durations) * 99 // 100]
        began = time.monotonic()
        found.stats = self._stop()
        found.exit_s = time.monotonic() - began
        return found


def say(line: str) -> None:
    """Print a line in one step."""
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    service = Service(Load(**json.loads(sys.argv[1])))
    service.prepare()
    say(json.dumps(asdict(service.run())))
    os._exit(0)
