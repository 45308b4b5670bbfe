"""`setup_tracing`: from what the user says to spans on their way."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter

from obs_core import _checks as check
from obs_core._config import TracingConfig
from obs_core._correlation import CorrelationSpanProcessor
from obs_core._errors import warn_once
from obs_core._export import BatchExportProcessor
from obs_core._exporter import build_exporter
from obs_core._manager import TracingManager, current_manager, set_current_manager
from obs_core._middleware import MiddlewareConfig, request_tracing_middleware
from obs_core._provider import SwitchableProvider
from obs_core._redaction import Redactor
from obs_core._resource import ProcessResource, build_resource
from obs_core._semconv import stable_semconv
from obs_core._settings import Settings, resolve
from obs_core._worker import BatchOptions
from obs_core.exceptions import AlreadyConfiguredError, ConfigurationError

OnExistingProvider = Literal["attach", "fail", "skip"]
_lock = threading.RLock()
_own: SwitchableProvider | None = None
_parts: tuple[object, ...] = ()


class SetupResult(NamedTuple):
    """What `setup_tracing` returns."""

    manager: TracingManager
    middleware_config: MiddlewareConfig


def setup_tracing(
    config: TracingConfig,
    *,
    instrument: Literal["auto"] | None = None,
    on_existing_provider: OnExistingProvider = "attach",
    replace: bool = False,
    span_exporter: SpanExporter | None = None,
    span_processors: Sequence[SpanProcessor] = (),
) -> SetupResult:
    """Set up tracing for this process; call it once, at start, before or after a fork.

    Args:
        config: The settings; what it leaves out comes from the environment.
        instrument: ``"auto"`` also instruments every installed library that an installed obs package covers.
        on_existing_provider: What to do when someone else has set a global TracerProvider: ``"attach"`` our processors to
            it (default), ``"fail"``, or ``"skip"``: leave it as it is and export nothing ourselves.
        replace: Where this process is set up already, flush and stop that and go on with `config`; tracers stay valid.
        span_exporter: Export through this one in place of OTLP, for instance an in-memory one.
        span_processors: Called for each span before it is queued for export; one that raises is logged and passed over.

    Returns:
        ``(manager, middleware_config)``. The same manager as before when called again with the same settings.

    Raises:
        ConfigurationError: A setting is wrong; with ``strict=True`` also one of the environment.
        AlreadyConfiguredError: This process is set up with other settings and `replace` is False, or someone else's
            provider is in place and `on_existing_provider` is ``"fail"``.

    Thread-safe. A second call with the same settings makes no thread and no exporter.
    """
    check.instance(TracingConfig)("config", config)
    if instrument not in ("auto", None):
        raise ConfigurationError(f"instrument={instrument!r} is not valid: use 'auto' or None")
    if on_existing_provider not in ("attach", "fail", "skip"):
        raise ConfigurationError(f"on_existing_provider={on_existing_provider!r} is not valid: use attach, fail or skip")
    global _parts
    with _lock:
        settings = resolve(config)
        parts = (span_exporter, *span_processors)
        manager = _reuse(settings, parts, replace)
        if manager is None:
            manager = _build(settings, on_existing_provider, span_exporter, span_processors)
            set_current_manager(manager)
            _parts = parts
    if instrument == "auto":
        manager.instrument_all()
    return SetupResult(manager, _middleware(settings))


def _reuse(settings: Settings, parts: tuple[object, ...], replace: bool) -> TracingManager | None:
    present = current_manager()
    if present is None or present.status.state == "stopped":
        return None
    if replace:
        present.shutdown()
        return None
    changed = sorted(n for n in settings.sources if getattr(settings, n) != getattr(present.settings, n))
    changed += ["span_exporter or span_processors"] if parts != _parts else []
    if changed:
        raise AlreadyConfiguredError(
            f"tracing is set up already, with another {', '.join(changed)}: "
            "call setup_tracing once, or with replace=True to flush and stop the first"
        )
    return present


def _build(
    settings: Settings,
    on_existing_provider: OnExistingProvider,
    span_exporter: SpanExporter | None,
    span_processors: Sequence[SpanProcessor],
) -> TracingManager:
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
        return TracingManager(settings, problems=["another TracerProvider is in force, and is left to itself"], state="skipped")
    resource, problems = (None, []) if foreign else build_resource(settings)
    if settings.strict and problems:
        raise ConfigurationError(problems[0])
    for problem in problems:
        warn_once(problem, problem)
    exporting, export_problems = _exporting(settings, span_exporter)
    processors = [CorrelationSpanProcessor(), *span_processors, *([exporting] if exporting else [])]
    switchable = _install(resource) if resource else None
    if switchable:
        switchable.switch(settings.sampling_rate, processors)
    else:
        export_problems += _attach(foreign, processors)
    return TracingManager(settings, switchable, exporting, [*problems, *export_problems])


def _foreign_provider() -> trace.TracerProvider | None:
    present = trace.get_tracer_provider()
    ours = _own is not None and present is _own.provider
    return None if ours or isinstance(present, trace.ProxyTracerProvider) else present


def _attach(foreign: trace.TracerProvider | None, processors: Sequence[SpanProcessor]) -> list[str]:
    if not isinstance(foreign, TracerProvider):
        problem = f"the global {type(foreign).__qualname__} is not the SDK's: its spans cannot be exported by obs-core"
        warn_once("foreign-provider", problem)
        return [problem]
    for processor in processors:
        foreign.add_span_processor(processor)
    return []


def _install(resource: ProcessResource) -> SwitchableProvider:
    global _own
    if _own is None:
        _own = SwitchableProvider(resource)
        trace.set_tracer_provider(_own.provider)
    else:
        _own.resource.become(resource)
    return _own


def _exporting(settings: Settings, given: SpanExporter | None) -> tuple[BatchExportProcessor | None, list[str]]:
    if given is None and settings.exporter == "none":
        return None, []
    options = BatchOptions(
        max_queue_size=settings.max_queue_size,
        max_export_batch_size=settings.max_export_batch_size,
        schedule_delay_s=settings.schedule_delay_s,
        exit_timeout_s=settings.exit_timeout_s,
    )
    build = (lambda: given) if given is not None else partial(build_exporter, settings)
    destination = Redactor(settings.redact).url(settings.collector_url)
    try:
        return BatchExportProcessor(build, destination, options), []
    except Exception as error:
        problem = f"the span exporter cannot be built: {error!r}; nothing is exported"
        if settings.strict:
            raise ConfigurationError(problem) from error
        warn_once(problem, problem)
        return None, [problem]


def _middleware(settings: Settings) -> MiddlewareConfig:
    options: dict[str, Any] = {
        "service_name": settings.service_name,
        "correlation": settings.correlation,
        "redact": settings.redact,
    }
    return MiddlewareConfig(request_tracing_middleware, options)
