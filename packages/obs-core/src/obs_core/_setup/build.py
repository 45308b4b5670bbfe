"""Build a set-up from the settings: resource, exporter, processors, provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from obs_core._config.secrets_in_logs import secret_mask
from obs_core._config.settings import Settings
from obs_core._config.validators import make_writable
from obs_core._correlation.processor import CorrelationSpanProcessor
from obs_core._export import sdk_metrics
from obs_core._export.exporters import build_exporter
from obs_core._export.keeper import Keeper
from obs_core._export.processor import BatchExportProcessor
from obs_core._export.signals import Exporter
from obs_core._integrations.semconv import stable_semconv
from obs_core._provider.contained import FencedProcessor
from obs_core._provider.processors import Pipeline
from obs_core._provider.provider import SwitchableProvider
from obs_core._provider.resource import ProcessResource, build_resource
from obs_core._provider.tracers import SpansInForce
from obs_core._safety.containment import warn_once
from obs_core._safety.redaction import Redactor
from obs_core._setup.build_signals import (
    batch_options,
    build_signals,
    cannot_be_built,
    spool_options,
)
from obs_core._setup.existing_provider import (
    already_configured,
    existing_provider,
    join,
    skip,
    without_effect,
)
from obs_core._setup.manager import TracingManager
from obs_core.exceptions import ConfigurationError

_own: SwitchableProvider | None = None


def assemble(
    settings: Settings,
    on_existing_provider: str,
    span_exporter: SpanExporter | None,
    span_processors: Sequence[SpanProcessor],
) -> TracingManager:
    """Build a set-up and put it in force; return the manager."""
    for problem in settings.problems:
        warn_once(problem, problem)
    if settings.disabled:
        return TracingManager(settings)
    stable_semconv()
    foreign = existing_provider(_own)
    if foreign is None:
        return _install(settings, span_exporter, span_processors)
    if on_existing_provider == "fail":
        raise already_configured(foreign)
    if on_existing_provider == "skip":
        return skip(settings)
    return _attach(foreign, settings, span_exporter, span_processors)


def _attach(
    foreign: trace.TracerProvider,
    settings: Settings,
    span_exporter: SpanExporter | None,
    span_processors: Sequence[SpanProcessor],
) -> TracingManager:
    """Let the spans of an existing provider pass through our processors."""
    exporting, problems = _exporting(settings, span_exporter)
    pipeline = Pipeline()
    _fill(pipeline, settings, exporting, span_processors)
    problems += join(foreign, pipeline, settings)
    problems += without_effect(settings)
    if settings.keep is not None:
        problems += _off("another TracerProvider makes the spans")
    resource = getattr(foreign, "resource", None) or _resource(settings)[0]
    signals = build_signals(settings, resource)
    problems += signals.problems
    return TracingManager(settings, pipeline, None, exporting, problems, signals)


def _install(
    settings: Settings,
    span_exporter: SpanExporter | None,
    span_processors: Sequence[SpanProcessor],
) -> TracingManager:
    """Make our provider the global provider; if it is, give it the new settings."""
    resource, problems = _resource(settings)
    exporting, export_problems = _exporting(settings, span_exporter)
    own = _own_provider(resource)
    own.make_spans(settings.spans)
    keeper, keep_problems = _keeper(settings, exporting, own.provider.spans)
    _fill(own.pipeline, settings, exporting, span_processors, keeper)
    own.sample(settings.sampling_rate, settings.sampler)
    own.draw_ids(settings.id_generator)
    own.keep(keeper)
    signals = build_signals(settings, own.resource)
    problems += [*export_problems, *keep_problems, *signals.problems]
    return TracingManager(settings, own.pipeline, own, exporting, problems, signals)


def _keeper(
    settings: Settings, exporting: BatchExportProcessor | None, spans: SpansInForce
) -> tuple[Keeper | None, list[str]]:
    """Return what makes the spans of unsampled requests; None: they do not record."""
    if settings.keep is None or exporting is None:
        return None, []
    if spans.is_light:
        return Keeper(settings.keep, exporting), []
    return None, _off(f"it needs light spans: {spans.reason or 'the SDK makes them'}")


def _off(reason: str) -> list[str]:
    problem = f"keep is off, unsampled requests leave nothing: {reason}"
    warn_once(problem, problem)
    return [problem]


def _resource(settings: Settings) -> tuple[ProcessResource, list[str]]:
    resource, problems = build_resource(settings)
    if settings.strict and problems:
        raise ConfigurationError(problems[0])
    for problem in problems:
        warn_once(problem, problem)
    return resource, problems


def _own_provider(resource: ProcessResource) -> SwitchableProvider:
    global _own
    if _own is None:
        _own = SwitchableProvider(resource)
        trace.set_tracer_provider(_own.provider)
    else:
        _own.resource.become(resource)
    return _own


def _fill(
    pipeline: Pipeline,
    settings: Settings,
    exporting: BatchExportProcessor | None,
    span_processors: Sequence[SpanProcessor],
    keeper: Keeper | None = None,
) -> None:
    """Put the processors into `pipeline`: ours, the user's, and the export as the last."""
    timeout_s = settings.exit_timeout_s
    fenced = [FencedProcessor(processor, timeout_s) for processor in span_processors]
    last = [part for part in (exporting, keeper) if part is not None]
    pipeline.processors = (CorrelationSpanProcessor(), *fenced, *last)
    pipeline.exit_timeout_s = timeout_s


def _exporting(
    settings: Settings, given: SpanExporter | None
) -> tuple[BatchExportProcessor | None, list[str]]:
    if given is None and settings.exporter == "none":
        return None, []
    if settings.spool_dir is not None:
        make_writable("spool_dir", settings.spool_dir)
    mask = secret_mask(settings)
    try:
        exporting = _export_processor(settings, given, mask)
    except Exception as error:  # noqa: BLE001 - any exporter's any error
        return None, [cannot_be_built("span", settings, mask, error)]
    if sdk_metrics.are_asked_for(settings):
        sdk_metrics.observe(exporting)
    return exporting, []


def _export_processor(
    settings: Settings, given: SpanExporter | None, mask: Callable[[str], str]
) -> BatchExportProcessor:
    def build() -> Exporter:
        return build_exporter(settings) if given is None else given

    destination = Redactor(settings.redact).url(settings.collector_url)
    batches = batch_options(settings, backend=settings.backend)
    spool = spool_options(settings, settings.spool_dir)
    return BatchExportProcessor(build, destination, batches, spool, mask=mask)
