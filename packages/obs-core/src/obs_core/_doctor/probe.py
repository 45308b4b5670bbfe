"""Probe the collector: a real OTLP request, bounded in time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from obs_core._config.endpoint import Protocol
from obs_core._config.secrets_in_logs import secret_mask
from obs_core._config.settings import Settings
from obs_core._export.exporters import build_exporter
from obs_core._export.outage import quiet_exporter_logs
from obs_core._safety.redaction import Redactor


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The answer of the collector; `text` is a line for the report."""

    taken: bool
    text: str


def probe(settings: Settings, timeout_s: float) -> ProbeResult:
    """Send an empty export request like the service's, with headers and TLS; return within twice `timeout_s`.

    If refused, the other protocol is tried too: a mixed-up port is the usual reason.
    """
    protocol = settings.endpoint.protocol
    shown = f"{Redactor(settings.redact).url(settings.collector_url)} ({protocol})"
    began, mask = time.monotonic(), secret_mask(settings)
    try:
        taken, reason = _Attempt(settings).wait(timeout_s)
    except Exception as error:  # noqa: BLE001 - an exporter that cannot be built is a finding too
        why = mask(f"{type(error).__name__}: {error}")
        return ProbeResult(False, f"the exporter for {shown} cannot be built: {why}")
    if taken:
        took_ms = (time.monotonic() - began) * 1000
        return ProbeResult(True, f"{shown} took a request in {took_ms:.0f} ms")
    other: Protocol = "http" if protocol == "grpc" else "grpc"
    if _answers(settings, other, timeout_s):
        reason = f"it speaks {other}: set collector_protocol={other!r}"
    return ProbeResult(False, f"{shown} does not take spans: {mask(reason)}")


def _answers(settings: Settings, protocol: Protocol, timeout_s: float) -> bool:
    try:
        return _Attempt(replace(settings, collector_protocol=protocol)).wait(timeout_s)[
            0
        ]
    except ValueError:  # the address says which protocol it is
        return False


class _Attempt:
    """A request on a thread that is left behind on timeout."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reasons: list[str] = []
        self._taken = False

    def wait(self, timeout_s: float) -> tuple[bool, str]:
        """Return whether the request was taken, and the first reason if not.

        Raises:
            ValueError: The settings contradict each other.
        """
        settings = replace(self._settings, export_timeout_s=timeout_s)
        # half a second more, so that the exporter's own reason arrives
        self._send(settings, timeout_s + 0.5)
        if self._reasons:
            return self._taken, self._reasons[0]
        return self._taken, f"no answer within {timeout_s:g} s"

    def _send(self, settings: Settings, timeout_s: float) -> None:
        exporter = build_exporter(settings)
        thread = threading.Thread(target=self._export, args=(exporter,), daemon=True)
        thread.start()
        thread.join(timeout_s)

    def _export(self, exporter: SpanExporter) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        with quiet_exporter_logs(self._reasons.append):
            try:
                self._taken = exporter.export([]) is SpanExportResult.SUCCESS
                exporter.shutdown()
            except Exception as error:  # noqa: BLE001 - whatever the exporter raises is the finding
                self._reasons.append(f"{type(error).__name__}: {error}")
