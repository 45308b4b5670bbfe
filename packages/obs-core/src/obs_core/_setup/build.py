"""Build a set-up from the settings: resource, exporter, processors, provider."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter

from obs_core._config.settings import Settings
from obs_core._config.validators import make_writable
from obs_core._correlation.ids import CorrelationSpanProcessor
from obs_core._export import sdk_metrics
from obs_core._export.exporters import build_exporter
from obs_core._export.masking import secret_mask
from obs_core._export.options import BatchOptions
from obs_core._export.processor import BatchExportProcessor
from obs_core._integrations.semconv import stable_semconv
from obs_core._provider.contained import FencedProcessor
from obs_core._provider.double_export import doubled_export
from obs_core._provider.processors import Pipeline
from obs_core._provider.provider import SwitchableProvider
from obs_core._provider.resource import ProcessResource, build_resource
from obs_core._safety.containment import warn_once
from obs_core._safety.redaction import Redactor
from obs_core._setup.manager import TracingManager
from obs_core.exceptions import AlreadyConfiguredError, ConfigurationError

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
    foreign = _foreign_provider()
    if foreign is not None and on_existing_provider == "fail":
        raise AlreadyConfiguredError(
            f"a {type(foreign).__module__}.{type(foreign).__qualname__} is the global TracerProvider already: "
            "remove it, or use on_existing_provider='attach' or 'skip'"
        )
    if foreign is not None and on_existing_provider == "skip":
        return TracingManager(
            settings,
            problems=["another TracerProvider is in force, and is left to itself"],
            state="skipped",
        )
    resource, problems = (None, []) if foreign else build_resource(settings)
    if settings.strict and problems:
        raise ConfigurationError(problems[0])
    for problem in problems:
        warn_once(problem, problem)
    exporting, export_problems = _exporting(settings, span_exporter)
    fenced = (FencedProcessor(processor, settings.exit_timeout_s) for processor in span_processors)
    processors = [CorrelationSpanProcessor(), *fenced, *([exporting] if exporting else [])]
    switchable = _install(resource) if resource else None
    pipeline = switchable.pipeline if switchable else Pipeline()
    pipeline.processors, pipeline.exit_timeout_s = tuple(processors), settings.exit_timeout_s
    if switchable:
        switchable.sample(settings.sampling_rate)
        switchable.make_spans(settings.spans)
    else:
        export_problems += _attach(foreign, pipeline, settings)
    return TracingManager(settings, pipeline, switchable, exporting, [*problems, *export_problems])


def _foreign_provider() -> trace.TracerProvider | None:
    present = trace.get_tracer_provider()
    ours = _own is not None and present is _own.provider
    return None if ours or isinstance(present, trace.ProxyTracerProvider) else present


def _attach(
    foreign: trace.TracerProvider | None, pipeline: Pipeline, settings: Settings
) -> list[str]:
    if not isinstance(foreign, TracerProvider):
        problem = f"the global {type(foreign).__qualname__} is not the SDK's: its spans cannot be exported by obs-core"
        warn_once("foreign-provider", problem)
        return [problem]
    if doubled := doubled_export(foreign, settings):
        warn_once(doubled, doubled)
    foreign.add_span_processor(pipeline)
    return []


def _install(resource: ProcessResource) -> SwitchableProvider:
    global _own
    if _own is None:
        _own = SwitchableProvider(resource)
        trace.set_tracer_provider(_own.provider)
    else:
        _own.resource.become(resource)
    return _own


def _exporting(
    settings: Settings, given: SpanExporter | None
) -> tuple[BatchExportProcessor | None, list[str]]:
    if given is None and settings.exporter == "none":
        return None, []
    if settings.spool_dir is not None:
        make_writable("spool_dir", settings.spool_dir)
    options = _batch_options(settings)
    build = (lambda: given) if given is not None else partial(build_exporter, settings)
    destination = Redactor(settings.redact).url(settings.collector_url)
    mask = secret_mask(settings)
    try:
        exporting = BatchExportProcessor(build, destination, options, mask=mask)
    except Exception as error:
        problem = mask(f"the span exporter cannot be built: {error!r}; nothing is exported")
        if settings.strict:
            raise ConfigurationError(problem) from error
        warn_once(problem, problem)
        return None, [problem]
    if sdk_metrics.is_asked_for():
        sdk_metrics.observe(exporting)
    return exporting, []


def _batch_options(settings: Settings) -> BatchOptions:
    return BatchOptions(
        max_queue_size=settings.max_queue_size,
        max_export_batch_size=settings.max_export_batch_size,
        schedule_delay_s=settings.schedule_delay_s,
        exit_timeout_s=settings.exit_timeout_s,
        spool_dir=settings.spool_dir,
        spool_max_bytes=settings.spool_max_bytes,
        spool_max_age_s=settings.spool_max_age_s,
    )
