"""Probe the collector: a connection, then a real OTLP request, bounded in time altogether."""

from __future__ import annotations

import re
import socket
import threading
import time
from dataclasses import dataclass, replace
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value

from obs_core._config.endpoint import Endpoint, Protocol
from obs_core._config.secrets_in_logs import secret_mask
from obs_core._config.settings import Settings
from obs_core._export.exporters import build_exporter
from obs_core._export.outage import quiet_exporter_logs
from obs_core._export.signals import Exporter, is_success
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


def probe(settings: Settings, timeout_s: float) -> ProbeResult:
    """Send an empty export request like the service's, with headers and TLS; return within `timeout_s`.

    If refused, or not answered in half of the time, the other protocol is tried too: a mixed-up port is the usual reason.
    """
    endpoint = settings.endpoint
    shown = (
        f"{Redactor(settings.redact).url(settings.collector_url)} ({endpoint.protocol})"
    )
    began, mask = time.monotonic(), secret_mask(settings)
    deadline = began + timeout_s
    if refused := _refusal(endpoint, timeout_s):
        return ProbeResult(False, f"{shown} does not take spans: {refused}")
    try:
        attempt = _Attempt(settings, deadline)
    except Exception as error:  # noqa: BLE001 - an exporter that cannot be built is a finding too
        why = mask(f"{type(error).__name__}: {error}")
        return ProbeResult(False, f"the exporter for {shown} cannot be built: {why}")
    other: Protocol = "http" if endpoint.protocol == "grpc" else "grpc"
    reason = ""
    if not attempt.is_taken(began + timeout_s / 2) and _answers(
        settings, other, deadline
    ):
        reason = f"it speaks {other}: set collector_protocol={other!r}"
    elif attempt.is_taken(deadline):
        took_ms = (time.monotonic() - began) * 1000
        return ProbeResult(True, f"{shown} took a request in {took_ms:.0f} ms")
    reason = reason or attempt.reason
    return ProbeResult(False, f"{shown} does not take spans: {mask(reason)}")


def _refusal(endpoint: Endpoint, timeout_s: float) -> str | None:
    """Connect, and return why that fails, with a way to see traces without a collector; None for what a proxy may reach."""
    url = endpoint.target if "//" in endpoint.target else f"http://{endpoint.target}"
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    is_direct = proxy_bypass(host) or not getproxies().keys() & {"http", "https", "all"}
    if port is None or not is_direct:
        return None
    try:
        socket.create_connection((host, port), timeout_s).close()
    except OSError as error:
        return f"{error.strerror or error}{_offer(host, port)}"
    return None


def _offer(host: str, port: int) -> str:
    from importlib.util import find_spec

    start = "obs-view tail"
    if find_spec("obs_view") is None:
        start = f"{install_command('obs-view')}, then obs-view tail"
    if host in _LOOPBACK and port in (4317, 4318):
        return f". Start the collector, or see traces without one: {start}"
    return f". To see traces without a collector, with OTEL_EXPORTER_OTLP_ENDPOINT unset: {start}"


def _answers(settings: Settings, protocol: Protocol, deadline: float) -> bool:
    try:
        other = replace(settings, collector_protocol=protocol)
        return _Attempt(other, deadline).is_taken(deadline)
    except ValueError:  # the address says which protocol it is
        return False


class _Attempt:
    """A request on a thread that is left behind at the first failure, or at the deadline (monotonic, seconds).

    Raises:
        ValueError: The settings contradict each other.
    """

    def __init__(self, settings: Settings, deadline: float) -> None:
        self._reasons: list[str] = []
        self._taken = False
        self._settled = threading.Event()
        self._left_s = max(deadline - time.monotonic(), 0.0)
        asked = replace(settings, export_timeout_s=max(self._left_s, 0.1))
        exporter = build_exporter(asked)
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
                self._taken = is_success(exporter.export([]))
                exporter.shutdown()
            except Exception as error:  # noqa: BLE001 - whatever the exporter raises is the finding
                self._explain(f"{type(error).__name__}: {error}")
        self._settled.set()

    def _explain(self, reason: str) -> None:
        self._reasons.append(_RETRYING.sub("", reason))
        self._settled.set()
