"""Probe the collector: a connection, then a real OTLP request, bounded in time altogether."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value

from obs_core._config.endpoint import Endpoint, Protocol
from obs_core._config.secrets_in_logs import secret_mask
from obs_core._config.settings import Settings
from obs_core._export.exporters import build_exporter
from obs_core._export.outage import quiet_exporter_logs
from obs_core._export.signals import METRICS, TRACES, Exporter, Signal, is_success
from obs_core._integrations.install import install_command
from obs_core._safety.redaction import Redactor

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# the exporter goes on trying, the doctor does not
_RETRYING = re.compile(r",? retrying in [\d.]+ ?s\.?")


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The answer of the collector; `text` is a line for the report."""

    taken: bool
    text: str


def probe_all(
    settings: Settings, signals: Iterable[Signal], timeout_s: float
) -> dict[str, ProbeResult]:
    """Probe the endpoints of `signals` at the same time, within `timeout_s` in all; return the answers by the signal's name."""
    answers: dict[str, ProbeResult] = {}

    def ask(signal: Signal) -> None:
        answers[signal.name] = probe(settings, timeout_s, signal)

    threads = [
        threading.Thread(target=ask, args=(signal,), daemon=True) for signal in signals
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def probe(settings: Settings, timeout_s: float, signal: Signal = TRACES) -> ProbeResult:
    """Send an empty export request like the service's, with headers and TLS; return within `timeout_s`.

    If refused, or not answered in half of the time, the other protocol is tried too: a mixed-up port is the usual reason.
    """
    endpoint = settings.endpoint_of(signal.name)
    url = settings.collector_url
    if signal is not TRACES:
        url = endpoint.target
    shown = f"{Redactor(settings.redact).url(url)} ({endpoint.protocol})"
    refusing = f"{shown} does not take {signal.noun}: "
    began, mask = time.monotonic(), secret_mask(settings)
    deadline = began + timeout_s
    if refused := _refusal(endpoint, timeout_s):
        offer = _offer(endpoint) if signal is TRACES else ""
        return ProbeResult(False, f"{refusing}{refused}{offer}")
    try:
        attempt = _Attempt(settings, deadline, signal)
    except Exception as error:  # noqa: BLE001 - an exporter that cannot be built is a finding too
        why = mask(f"{type(error).__name__}: {error}")
        return ProbeResult(False, f"the exporter for {shown} cannot be built: {why}")
    other: Protocol = "http" if endpoint.protocol == "grpc" else "grpc"
    reason = ""
    if not attempt.is_taken(began + timeout_s / 2) and _answers(
        settings, other, deadline, signal
    ):
        reason = (
            f"it speaks {other}: set {_protocol_setting(settings, signal)}={other!r}"
        )
    elif attempt.is_taken(deadline):
        took_ms = (time.monotonic() - began) * 1000
        return ProbeResult(True, f"{shown} took a request in {took_ms:.0f} ms")
    reason = reason or attempt.reason
    return ProbeResult(False, f"{refusing}{mask(reason)}")


def _protocol_setting(settings: Settings, signal: Signal) -> str:
    if getattr(settings, f"{signal.name}_url", None) is None:
        return "collector_protocol"
    return f"OTEL_EXPORTER_OTLP_{signal.name.upper()}_PROTOCOL"


def _address(endpoint: Endpoint) -> tuple[str, int | None]:
    url = endpoint.target if "//" in endpoint.target else f"http://{endpoint.target}"
    parts = urlsplit(url)
    return parts.hostname or "", parts.port


def _refusal(endpoint: Endpoint, timeout_s: float) -> str | None:
    """Connect, and return why that fails; None for what a proxy may reach."""
    host, port = _address(endpoint)
    is_direct = proxy_bypass(host) or not getproxies().keys() & {"http", "https", "all"}
    if port is None or not is_direct:
        return None
    try:
        socket.create_connection((host, port), timeout_s).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _offer(endpoint: Endpoint) -> str:
    """Return a way to see traces without a collector."""
    from importlib.util import find_spec

    host, port = _address(endpoint)
    start = "obs-view tail"
    if find_spec("obs_view") is None:
        start = f"{install_command('obs-view')}, then obs-view tail"
    if host in _LOOPBACK and port in (4317, 4318):
        return f". Start the collector, or see traces without one: {start}"
    return f". To see traces without a collector, with OTEL_EXPORTER_OTLP_ENDPOINT unset: {start}"


def _answers(
    settings: Settings, protocol: Protocol, deadline: float, signal: Signal
) -> bool:
    changed: dict[str, Any] = {"collector_protocol": protocol}
    if signal is not TRACES:
        changed = {f"{signal.name}_protocol": protocol}
    try:
        other = replace(settings, **changed)
        return _Attempt(other, deadline, signal).is_taken(deadline)
    except ValueError:  # the address says which protocol it is
        return False


def _nothing(signal: Signal) -> Any:
    """Return a batch of nothing."""
    if signal is not METRICS:
        return []
    from opentelemetry.sdk.metrics.export import MetricsData

    return MetricsData([])


class _Attempt:
    """A request on a thread that is left behind at the first failure, or at the deadline (monotonic, seconds).

    Raises:
        ValueError: The settings contradict each other.
    """

    def __init__(self, settings: Settings, deadline: float, signal: Signal) -> None:
        self._reasons: list[str] = []
        self._taken = False
        self._settled = threading.Event()
        self._left_s = max(deadline - time.monotonic(), 0.0)
        asked = replace(settings, export_timeout_s=max(self._left_s, 0.1))
        exporter = build_exporter(asked, signal)
        self._nothing = _nothing(signal)
        threading.Thread(target=self._export, args=(exporter,), daemon=True).start()

    def is_taken(self, until: float) -> bool:
        """Wait for an answer `until` then; return whether the request was taken."""
        self._settled.wait(max(until - time.monotonic(), 0.0))
        return self._taken

    @property
    def reason(self) -> str:
        """Why the request was not taken."""
        if self._reasons:
            return self._reasons[0]
        return f"no answer within {self._left_s:.1f} s"

    def _export(self, exporter: Exporter) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        with quiet_exporter_logs(self._explain):
            try:
                self._taken = is_success(exporter.export(self._nothing))
                exporter.shutdown()
            except Exception as error:  # noqa: BLE001 - whatever the exporter raises is the finding
                self._explain(f"{type(error).__name__}: {error}")
        self._settled.set()

    def _explain(self, reason: str) -> None:
        self._reasons.append(_RETRYING.sub("", reason))
        self._settled.set()
