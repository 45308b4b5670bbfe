"""The faults, a row each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.faults.collector import FAR_S, Answer

BOTH = ("http", "grpc")


@dataclass(frozen=True)
class Fault:
    """A fault and what is promised in it.

    Attributes:
        name: In the table and in the tests.
        answer: How the collector answers meanwhile.
        process: What is done to a process: the collector is ``killed`` and started again, or ``stopped`` and continued; the
            ``service`` is killed, and another started in its place; the collector comes back with another ``certificate``, or
            at another address (``moved``); the spool is made ``read-only``.
        trouble: What goes wrong in the service, by its name in `tests.faults.troubles`.
        protocols: The protocols that can have the fault.
        is_spooled: With a spool.
        may_double: At least once: taken without an answer that says so, a span is offered again, or counted as lost.
        may_lose: Spans may be lost in spite of a spool: the collector has refused them for good.
        loses: All spans are lost, and counted.
        options: More options of `TracingConfig`.
    """

    name: str
    answer: Answer = field(default_factory=Answer)
    process: str = ""
    trouble: str = ""
    protocols: tuple[str, ...] = BOTH
    is_spooled: bool = False
    may_double: bool = False
    may_lose: bool = False
    loses: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def needs_own_mounts(self) -> bool:
        """Whether the service must be given mounts of its own."""
        return self.process in ("moved", "read-only")


def _busy(retry_after: str = "") -> Answer:
    headers = {"retry-after": retry_after} if retry_after else {}
    return Answer(status=503, code="UNAVAILABLE", headers=headers)


_HTTP = ("http",)
_SPOOL: dict[str, Any] = {"is_spooled": True}
_ELSEWHERE = {"location": "/login"}
_PAGE = {"content-type": "text/html"}

FAULTS = (
    Fault("collector refused", process="killed", may_double=True),
    Fault("collector silent", process="stopped", may_double=True),
    Fault("collector slow", Answer(delay_s=0.3)),
    Fault("redirect", Answer(status=302, headers=_ELSEWHERE), protocols=_HTTP),
    Fault("login page", Answer(headers=_PAGE, body="<html>"), protocols=_HTTP),
    Fault("bad request", Answer(status=400, code="INVALID_ARGUMENT")),
    Fault("too many", Answer(status=429, code="RESOURCE_EXHAUSTED")),
    Fault("busy", _busy()),
    Fault("busy, for seconds", _busy("1"), protocols=_HTTP),
    Fault("busy, for longer than is left", _busy(str(FAR_S)), protocols=_HTTP),
    Fault("busy, to a date", _busy("date"), protocols=_HTTP),
    Fault("partial success", Answer(rejected=1)),
    Fault("partial success, with a spool", Answer(rejected=1), may_lose=True, **_SPOOL),
    Fault("cut in the request", Answer(cut="request"), protocols=_HTTP),
    Fault("cut in the answer", Answer(cut="answer"), may_double=True),
    Fault("refused, with a spool", process="killed", may_double=True, **_SPOOL),
    Fault("silent, with a spool", process="stopped", may_double=True, **_SPOOL),
    Fault("TLS expires", process="certificate", may_double=True),
    Fault(
        "TLS expires, with a spool", process="certificate", may_double=True, **_SPOOL
    ),
    Fault("DNS changes", process="moved", may_double=True),
    Fault("DNS changes, with a spool", process="moved", may_double=True, **_SPOOL),
    Fault("service killed", process="service", may_double=True, **_SPOOL),
    Fault("disk full", trouble="DiskFull", **_SPOOL),
    Fault("read-only spool", process="read-only", **_SPOOL),
    Fault("spool without locks", trouble="NoLocks", **_SPOOL),
    Fault("processor raises", trouble="ProcessorRaises"),
    Fault("processor hangs", trouble="ProcessorHangs"),
    Fault("exporter raises", trouble="ExporterRaises", loses=True),
    Fault("exporter hangs", trouble="ExporterHangs", loses=True),
    Fault("flood, ten times the load", trouble="Flood"),
    Fault("attributes of 1 MB", trouble="LargeAttributes"),
    Fault("fork storm", trouble="Forks"),
    Fault("children killed", trouble="ChildrenKilled", may_double=True, **_SPOOL),
    Fault("children without memory", trouble="NoMemory", may_lose=True, **_SPOOL),
    # gRPC asks the kernel for the time as well, which cannot be made to leap for one process
    Fault("clock jumps", trouble="ClockJumps", protocols=_HTTP),
)
