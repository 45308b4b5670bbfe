"""The signals and their differences: exporters, and words of the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import FunctionType
from typing import Any, Protocol

from obs_core._config.endpoint import Protocol as OtlpProtocol
from obs_core._config.endpoint import SignalName

_EXPORTERS = "opentelemetry.exporter.otlp.proto"
_SERVICES = "opentelemetry.proto.collector"


class Exporter(Protocol):
    """An exporter of any signal, from OpenTelemetry or of the user."""

    def export(self, batch: Any, /) -> Any:
        """Send a batch; the answer is an enum with the member SUCCESS."""

    def shutdown(self) -> None:
        """Close."""


def is_otlp(exporter: type[Exporter]) -> bool:
    """Whether `exporter` is OpenTelemetry's for OTLP, or derived from it here."""
    return exporter.__module__.startswith("opentelemetry.exporter.otlp")


def extended(exporter: type[Exporter], **members: Any) -> type[Exporter]:
    """Return a subclass of `exporter` with `members`, under the same name."""
    members["__module__"] = exporter.__module__
    return type(exporter.__name__, (exporter,), members)


def rebound(method: FunctionType, **others: Callable[..., Any]) -> FunctionType:
    """Return `method` with other globals."""
    names = {**method.__globals__, **others}
    found = FunctionType(
        method.__code__, names, method.__name__, method.__defaults__, method.__closure__
    )
    found.__kwdefaults__ = method.__kwdefaults__
    return found


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal of OpenTelemetry.

    Attributes:
        name: As in OTLP's paths and in the variables.
        noun: What is exported, in log lines.
        item: A single one, as the SDK's metrics name it.
        modules: The modules of OTLP's exporters: of this version, of a later one.
        exporter: The class in these modules.
        encode: The function that OTLP's exporters call with a batch.
        service: The package, and the stub's class, of the gRPC service.
    """

    name: SignalName
    noun: str
    item: str
    modules: tuple[str, ...]
    exporter: str
    encode: str
    service: tuple[str, str]

    def exporter_type(self, protocol: OtlpProtocol) -> type[Exporter]:
        """Return OTLP's exporter.

        Raises:
            ImportError: It is not where versions known so far have it.
        """
        *others, last = [f"{_EXPORTERS}.{protocol}.{name}" for name in self.modules]
        for path in others:
            try:
                return self._in(path)
            except ModuleNotFoundError as missing:
                if missing.name != path:
                    raise
        return self._in(last)

    def _in(self, path: str) -> type[Exporter]:
        found: type[Exporter] = getattr(import_module(path), self.exporter)
        return found

    def stub(self, channel: object) -> Any:
        """Return the client of the gRPC service."""
        module, name = self.service
        stub: Callable[[object], Any] = getattr(
            import_module(f"{_SERVICES}.{module}_pb2_grpc"), name
        )
        return stub(channel)


TRACES = Signal(
    "traces",
    "spans",
    "span",
    ("trace_exporter",),
    "OTLPSpanExporter",
    "encode_spans",
    ("trace.v1.trace_service", "TraceServiceStub"),
)
LOGS = Signal(
    "logs",
    "log records",
    "log",
    ("_log_exporter", "log_exporter"),
    "OTLPLogExporter",
    "encode_logs",
    ("logs.v1.logs_service", "LogsServiceStub"),
)

METRICS = Signal(
    "metrics",
    "metrics",
    "metric",
    ("metric_exporter",),
    "OTLPMetricExporter",
    "encode_metrics",
    ("metrics.v1.metrics_service", "MetricsServiceStub"),
)


def is_success(answer: object) -> bool:
    """Whether an exporter's answer says that the batch was taken; each signal has an enum of its own."""
    return getattr(answer, "name", None) == "SUCCESS"
