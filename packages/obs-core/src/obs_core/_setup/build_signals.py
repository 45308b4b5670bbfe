"""Build the signals beside spans as the settings ask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from obs_core._config.secrets_in_logs import secret_mask
from obs_core._config.validators import make_writable
from obs_core._export import sdk_metrics
from obs_core._export.exporters import build_exporter
from obs_core._export.options import BatchOptions, SpoolOptions
from obs_core._export.outage import OutageLog
from obs_core._export.signal_export import SignalExport
from obs_core._export.signals import LOGS, METRICS, Signal
from obs_core._safety.containment import warn_once
from obs_core._safety.redaction import Redactor
from obs_core._setup.signals import Logs, Signals
from obs_core.exceptions import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from obs_core._config.settings import Settings


def build_signals(settings: Settings, resource: Resource) -> Signals:
    """Return what the settings ask for, running."""
    signals = Signals()
    if settings.logs:
        _add_logs(signals, settings, resource)
    if settings.metrics:
        _add_metrics(signals, settings, resource)
    return signals


def _add_logs(signals: Signals, settings: Settings, resource: Resource) -> None:
    from obs_core._logs.attach import attach, other_exporter
    from obs_core._logs.handler import ExportHandler

    if other := other_exporter():
        problem = f"{other} exports log records already: logs=True is left out"
        warn_once(problem, problem)
        signals.problems.append(problem)
        return
    mask = secret_mask(settings)
    try:
        export = export_of(settings, LOGS, mask)
    except Exception as error:  # noqa: BLE001 - any exporter's any error
        signals.problems.append(cannot_be_built("log", settings, mask, error))
        return
    if sdk_metrics.are_asked_for(settings):
        sdk_metrics.observe(export)
    handler = ExportHandler(export, resource)
    signals.logs = Logs(export, handler, attach(handler))


def _add_metrics(signals: Signals, settings: Settings, resource: Resource) -> None:
    from obs_core._metrics.export import MetricExport
    from obs_core._metrics.in_force import own_provider

    provider = own_provider()
    if provider is None:
        problem = "another MeterProvider is in force: metrics=True is left out"
        warn_once(problem, problem)
        signals.problems.append(problem)
        return
    mask = secret_mask(settings)
    destination = Redactor(settings.redact).url(settings.endpoint_of("metrics").target)

    def build() -> MetricExport:
        return MetricExport(
            lambda: build_exporter(settings, METRICS),
            OutageLog(destination, mask, METRICS.noun),
            settings.metric_interval_s,
            resource,
        )

    try:
        provider.switch(build)
    except Exception as error:  # noqa: BLE001 - any exporter's any error
        signals.problems.append(cannot_be_built("metric", settings, mask, error))
        return
    signals.metrics = provider


def export_of(
    settings: Settings, signal: Signal, mask: Callable[[str], str]
) -> SignalExport:
    """Return the export of `signal`, running."""
    spool_dir = settings.spool_dir and settings.spool_dir / signal.name
    if spool_dir is not None:
        make_writable("spool_dir", spool_dir)
    return SignalExport(
        signal,
        lambda: build_exporter(settings, signal),
        Redactor(settings.redact).url(settings.endpoint_of(signal.name).target),
        batch_options(settings),
        spool_options(settings, spool_dir),
        mask=mask,
    )


def batch_options(settings: Settings, *, backend: str = "none") -> BatchOptions:
    """Return the options of an export; `backend` is for spans alone."""
    return BatchOptions(
        max_queue_size=settings.max_queue_size,
        max_export_batch_size=settings.max_export_batch_size,
        schedule_delay_s=settings.schedule_delay_s,
        exit_timeout_s=settings.exit_timeout_s,
        backend=backend,
    )


def spool_options(settings: Settings, folder: Path | None) -> SpoolOptions | None:
    """Return the options of the spool in `folder`; None: without one."""
    if folder is None:
        return None
    return SpoolOptions(folder, settings.spool_max_bytes, settings.spool_max_age_s)


def cannot_be_built(
    item: str, settings: Settings, mask: Callable[[str], str], error: Exception
) -> str:
    """Return the problem of an exporter that cannot be built, logged.

    Raises:
        ConfigurationError: With ``strict=True``.
    """
    problem = mask(
        f"the {item} exporter cannot be built: {error!r}; nothing is exported"
    )
    if settings.strict:
        raise ConfigurationError(problem) from error
    warn_once(problem, problem)
    return problem
