"""Run one fault under live traffic: before, in and after; then account for every span."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from obs_core.testing import wait_until

from tests.faults.incidents import INCIDENTS, OLD_HOST
from tests.faults.processes import PATIENCE_S, Process, start_service
from tests.faults.service import Load, Outcome
from tests.faults.table import Fault
from tests.faults.trouble import Trouble
from tests.faults.troubles import TROUBLES
from tests.services import free_port, wait_for_port


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


class Drill:
    """A collector, a service under load and perhaps a spool, in a folder of their own."""

    def __init__(
        self, stack: ExitStack, folder: Path, fault: Fault, protocol: str, rate: float
    ) -> None:
        self._stack, self._fault, self._protocol = stack, fault, protocol
        self._rate = rate
        self._port = free_port()
        self.folder, self.spool = folder, folder / "spool"
        self.answer = fault.answer
        self._collectors: list[Process] = []
        self._services: list[Process] = []
        self._incident = INCIDENTS["within" if fault.trouble else fault.process](self)

    @property
    def service(self) -> Process:
        """The service that makes spans now."""
        return self._services[-1]

    @property
    def collector(self) -> Process:
        """The collector that was started last."""
        return self._collectors[-1]

    def run(self, fault_s: float) -> Account:
        """Let the fault begin under traffic, last, and end; return the account."""
        self._incident.prepare()
        self.start_next_service()
        if not self._fault.loses:
            self._wait_for_more(self._taken, self._rate / 2)
        self._incident.begin()
        factor = TROUBLES.get(self._fault.trouble, Trouble).factor_meant
        self._wait_for_more(self._made, self._rate * fault_s * factor)
        self._incident.end()
        recovered_s = self._time_recovery()
        outcome = self._finish(self.service)
        if self._fault.is_spooled:
            self._let_the_next_take_over()
        return self._account(outcome, recovered_s)

    def start_collector(self, host: str = OLD_HOST, certificate: str = "") -> None:
        """Start a collector, with TLS if a certificate of the folder is named."""
        arguments = [self._protocol, f"{host}:{self._port}"]
        if certificate:
            arguments.append(str(self.folder / certificate))
        self._collectors.append(Process(self._stack, "collector", *arguments))
        wait_for_port(self._port, PATIENCE_S, host)

    def start_next_service(self, rate: float | None = None) -> None:
        """Start a service at the drill's rate, or at another."""
        incident = self._incident
        options: dict[str, Any] = {
            "collector_url": f"{incident.scheme}://{incident.url_host}:{self._port}",
            "collector_protocol": self._protocol,
            "schedule_delay_s": 0.2,
            "exit_timeout_s": 5.0,
            **self._fault.options,
        }
        if self._fault.is_spooled:
            options["spool_dir"] = str(self.spool)
        load = Load(self._rate if rate is None else rate, options, self._fault.trouble)
        self._services.append(
            start_service(self._stack, load, incident.prefix, incident.environment)
        )

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
        self.start_next_service(0.0)
        wait_until(lambda: not list(self.spool.glob("*.spans")), PATIENCE_S)
        self._finish(self.service)

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
        return [name for one in self._services for name in one.names()]

    def _taken(self) -> list[str]:
        return [name for one in self._collectors for name in one.names()]

    def _wait_for_more(self, names: Any, count: float) -> None:
        enough = len(names()) + count
        wait_until(lambda: len(names()) >= enough, PATIENCE_S)


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
