"""Run one fault under live traffic: before, in and after; then account for every span."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from obs_core.testing import wait_until

from tests.faults.collector import Answer
from tests.faults.service import Load, Outcome
from tests.faults.table import Fault
from tests.faults.troubles import TROUBLES, Trouble
from tests.services import free_port, wait_for_port

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Account:
    """What came of a drill's spans, and of the application.

    Attributes:
        made: Ended in the service.
        received: Of these, taken by the collector.
        counted: Counted as lost by `stats()`, or as left on disk.
        doubled: Taken again.
        recovered_s: From the fault's end until a span that ended after it was taken; None if none was.
        errors: Calls of the application that raised.
        p99_us: The 99th percentile of a call, in microseconds.
        exit_s: How long the shutdown took.
    """

    made: int
    received: int
    counted: int
    doubled: int
    recovered_s: float | None
    errors: int
    p99_us: float
    exit_s: float

    @property
    def unexplained(self) -> int:
        """Spans that are neither received nor counted; below 0: counted as lost, though received."""
        return self.made - self.received - self.counted


class Process:
    """A module of this folder in a process of its own, whose lines are kept."""

    def __init__(self, stack: ExitStack, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"tests.faults.{module}", *arguments]
        self.popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=_environment(),
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        stack.callback(self.end, signal.SIGKILL)

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.append(line.rstrip("\n"))

    def end(self, how: signal.Signals) -> None:
        """Send a signal, and wait until the process has gone and all its lines are read."""
        self.popen.send_signal(how)
        try:
            self.popen.wait(PATIENCE_S)
        finally:
            self.popen.kill()
            self.popen.wait()
            self._reader.join(PATIENCE_S)
            for pipe in (self.popen.stdin, self.popen.stdout):
                assert pipe is not None
                pipe.close()

    def ask(self, line: str) -> None:
        """Give a line, and wait for the `+` that answers it."""
        before = self.lines.count("+")
        assert self.popen.stdin is not None
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()
        wait_until(lambda: self.lines.count("+") > before)


def _environment() -> dict[str, str]:
    prefixes = ("OTEL_", "OBS_CORE_")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(prefixes)
    }


class Drill:
    """A collector, a service under load and perhaps a spool, in a folder of their own."""

    def __init__(
        self, stack: ExitStack, folder: Path, fault: Fault, protocol: str, rate: float
    ) -> None:
        self._stack, self._fault, self._protocol = stack, fault, protocol
        self._rate = rate
        self._port = free_port()
        self._spool = folder / "spool"
        self._collectors: list[Process] = []
        self._services: list[Process] = []

    def run(self, fault_s: float) -> Account:
        """Let the fault begin under traffic, last, and end; return the account."""
        self._start_collector()
        self._start_service(self._rate)
        if not self._fault.loses:
            self._wait_for_more(self._taken, self._rate / 2)
        self._begin()
        factor = TROUBLES.get(self._fault.trouble, Trouble).factor_meant
        self._wait_for_more(self._made, self._rate * fault_s * factor)
        self._end()
        recovered_s = self._time_recovery()
        outcomes = [self._finish(self._services[-1])]
        if self._fault.is_spooled:
            self._let_the_next_take_over()
        return self._account(outcomes[0], recovered_s)

    def _start_collector(self) -> None:
        arguments = (self._protocol, str(self._port))
        self._collectors.append(Process(self._stack, "collector", *arguments))
        wait_for_port(self._port, PATIENCE_S)

    def _start_service(self, rate: float) -> None:
        options: dict[str, Any] = {
            "collector_url": f"http://127.0.0.1:{self._port}",
            "collector_protocol": self._protocol,
            "schedule_delay_s": 0.2,
            "exit_timeout_s": 5.0,
            **self._fault.options,
        }
        if self._fault.is_spooled:
            options["spool_dir"] = str(self._spool)
        load = Load(rate, options, self._fault.trouble)
        self._services.append(start_service(self._stack, load))

    def _begin(self) -> None:
        service, collector = self._services[-1], self._collectors[-1]
        if self._fault.trouble:
            service.popen.send_signal(signal.SIGUSR1)
        elif self._fault.process == "killed":
            collector.end(signal.SIGKILL)
        elif self._fault.process == "stopped":
            collector.popen.send_signal(signal.SIGSTOP)
        elif self._fault.process == "service":
            service.end(signal.SIGKILL)
            self._start_service(self._rate)
        else:
            collector.ask(self._fault.answer.to_json())

    def _end(self) -> None:
        service, collector = self._services[-1], self._collectors[-1]
        if self._fault.trouble:
            service.popen.send_signal(signal.SIGUSR2)
        elif self._fault.process == "killed":
            self._start_collector()
        elif self._fault.process == "stopped":
            collector.popen.send_signal(signal.SIGCONT)
        elif not self._fault.process:
            collector.ask(Answer().to_json())

    def _time_recovery(self) -> float | None:
        """Wait until a span that ended after now is taken."""
        if self._fault.loses:
            return None
        ended_at, before = time.monotonic(), set(self._made())
        wait_until(
            lambda: set(self._taken()) & (set(self._made()) - before), PATIENCE_S
        )
        return time.monotonic() - ended_at

    def _finish(self, service: Process) -> Outcome:
        service.end(signal.SIGTERM)
        return Outcome(**json.loads(service.lines[-1]))

    def _let_the_next_take_over(self) -> None:
        """Let a service that makes no span export what is left on disk."""
        self._start_service(0.0)
        wait_until(lambda: not list(self._spool.glob("*.spans")), PATIENCE_S)
        self._finish(self._services[-1])

    def _account(self, outcome: Outcome, recovered_s: float | None) -> Account:
        made, taken = set(self._made()), Counter(self._taken())
        stats = outcome.stats
        # of children, whose counts go with them
        said = sum(one.lines.count("lost") for one in self._services)
        lost = ("failed", "dropped_queue_full", "dropped_outage")
        return Account(
            made=len(made),
            received=len(made & taken.keys()),
            counted=sum(stats[name] for name in lost) + said,
            doubled=taken.total() - len(taken),
            recovered_s=recovered_s,
            errors=outcome.errors,
            p99_us=outcome.p99_s * 1e6,
            exit_s=outcome.exit_s,
        )

    def _made(self) -> list[str]:
        return [name for one in self._services for name in _names(one)]

    def _taken(self) -> list[str]:
        return [name for one in self._collectors for name in _names(one)]

    def _wait_for_more(self, names: Any, count: float) -> None:
        enough = len(names()) + count
        wait_until(lambda: len(names()) >= enough, PATIENCE_S)


def _names(process: Process) -> list[str]:
    """Return the names that a process has printed: all that begins with a digit."""
    return [line for line in list(process.lines) if line[:1].isdigit()]


def start_service(stack: ExitStack, load: Load) -> Process:
    """Start a service, and wait until it makes calls."""
    service = Process(stack, "service", json.dumps(asdict(load)))
    wait_until(lambda: service.lines or service.popen.poll() is not None, PATIENCE_S)
    assert service.popen.poll() is None, "the service has not started"
    return service


def drill(
    fault: Fault, protocol: str, rate: float, folder: Path, fault_s: float
) -> Account:
    """Run one fault; return the account."""
    with ExitStack() as stack:
        return Drill(stack, folder, fault, protocol, rate).run(fault_s)


def untraced_p99_us(rate: float, calls: int) -> float:
    """Return the 99th percentile of a call without telemetry, in microseconds."""
    with ExitStack() as stack:
        service = start_service(stack, Load(rate, None))
        wait_until(lambda: len(service.lines) > calls, PATIENCE_S)
        service.end(signal.SIGTERM)
        return float(json.loads(service.lines[-1])["p99_s"]) * 1e6
