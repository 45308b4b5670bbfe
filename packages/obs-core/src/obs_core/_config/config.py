"""The settings of tracing as the user writes them: checked at once, completed by the environment at set-up."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from obs_core._config.correlation import CorrelationConfig
from obs_core._config.endpoint import Protocol, parse_endpoint
from obs_core._config.keep import Keep
from obs_core._config.keywords import explain_unknown_options
from obs_core.exceptions import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Sampler

Backend = Literal["signoz", "none"]


@explain_unknown_options
@dataclass(frozen=True, kw_only=True)
class TracingConfig:
    """The settings of a service's tracing; whatever is left out comes from the environment, then from the default.

    Precedence of each one: argument > ``OTEL_*`` variable > legacy variable > default. Immutable.

    Attributes:
        service_name: ``service.name``. Required here or as ``OTEL_SERVICE_NAME`` / ``SERVICE_NAME``.
        service_version: ``service.version``.
        service_namespace: ``service.namespace``.
        collector_url: The OTLP collector. Default ``http://localhost:4317``.
        collector_protocol: ``"grpc"`` or ``"http"``. Default: what the port and path of `collector_url` say, else grpc.
        headers: Sent with every export, for instance an ingestion key. Never shown.
        sampling_rate: Share of new traces to record, 0 … 1, by trace id; a parent's decision always wins. Default 1.0.
        sampler: An object that decides for each span, in place of `sampling_rate`. Default None.
        id_generator: An object that draws trace and span ids. Default None: random ones.
        keep: Export unsampled requests too that fail, are slow or are asked for: see `Keep`. Default None: off.
        environment: ``deployment.environment.name``.
        resource_attributes: More attributes of the resource; they win over detected ones.
        correlation: Correlation ids at the HTTP edges.
        export_timeout_s: Longest time for one export, in seconds. Default 10.
        exit_timeout_s: Longest time that process exit waits for the collector, in seconds, in total. Default 2.
        max_queue_size: Finished spans kept for export; more are dropped and counted. Default 2,048.
        max_export_batch_size: Spans per export. Default 512, at most `max_queue_size`.
        schedule_delay_s: Longest wait before a finished span is exported, in seconds. Default 5.
        spool_dir: A local directory where finished spans are until the collector has taken them, so that they survive SIGKILL,
            restarts and long outages. Processes that export to the same collector may share it. POSIX. Default None: off.
        spool_max_bytes: About how much may be kept there by all processes together, in bytes. Default 67,108,864 (64 MiB).
        spool_max_age_s: How long a span may wait there, in seconds. Default 86,400 (a day).
        logs: Export the records of `logging` too, by OTLP, with trace, span and correlation ids. Default False.
        metrics: Export metrics too, by OTLP, from a MeterProvider that all packages record on. Default False.
        metric_interval_s: Time from one export of metrics to the next, in seconds. Default 60.
        redact: More name globs (``"*ssn*"``) whose values are masked, beside the built-in ones.
        backend: ``"signoz"``: exported spans have the attributes that SigNoz's panes read. Default ``"none"``: the stable ones.
        strict: Raise for what is wrong in the environment too, in place of a warning and the default. Default False.

    Raises:
        ConfigurationError: A value is wrong, or two contradict each other; the message says what, the value and the fix.
    """

    service_name: str | None = None
    service_version: str | None = None
    service_namespace: str | None = None
    collector_url: str | None = None
    collector_protocol: Protocol | None = None
    headers: Mapping[str, str] | None = None
    sampling_rate: float | None = None
    sampler: Sampler | None = None
    id_generator: IdGenerator | None = None
    keep: Keep | None = None
    environment: str | None = None
    resource_attributes: Mapping[str, Any] | None = None
    correlation: CorrelationConfig | None = None
    export_timeout_s: float | None = None
    exit_timeout_s: float | None = None
    max_queue_size: int | None = None
    max_export_batch_size: int | None = None
    schedule_delay_s: float | None = None
    spool_dir: str | os.PathLike[str] | None = None
    spool_max_bytes: int | None = None
    spool_max_age_s: float | None = None
    logs: bool | None = None
    metrics: bool | None = None
    metric_interval_s: float | None = None
    redact: Sequence[str] | None = None
    backend: Backend | None = None
    strict: bool = field(default=False)

    def __post_init__(self) -> None:
        # imported here: 3 ms that a process without a configuration does without
        from obs_core._config.table import SETTINGS

        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None:
                object.__setattr__(
                    self, item.name, SETTINGS[item.name].check(item.name, value)
                )
        if self.collector_url is not None:
            parse_endpoint(self.collector_url, self.collector_protocol)
        self._check_samplers()
        self._check_batch_size()

    def _check_samplers(self) -> None:
        if self.sampler is not None and self.sampling_rate is not None:
            raise ConfigurationError(
                f"sampler and sampling_rate={self.sampling_rate} are two answers to one question: leave one out"
            )

    def _check_batch_size(self) -> None:
        queue, batch = self.max_queue_size, self.max_export_batch_size
        if queue and batch and batch > queue:
            raise ConfigurationError(
                f"max_export_batch_size {batch} is larger than max_queue_size {queue}: "
                "a batch is taken from the queue, so lower the one or raise the other"
            )

    @classmethod
    def from_env(cls) -> TracingConfig:
        """Return a configuration that takes everything from the environment (``OTEL_*``, then the legacy names)."""
        return _FromEnvironment()


class _FromEnvironment(TracingConfig):
    """A configuration that leaves the service name to the environment: without a name it warns."""


def needs_service_name(config: TracingConfig) -> bool:
    """Whether a service name that is found nowhere is the programmer's error, not the environment's."""
    return not isinstance(config, _FromEnvironment)
