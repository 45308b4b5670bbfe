"""`setup_tracing`: from the configuration to exported spans."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from obs_core._config import validators as check
from obs_core._config.config import TracingConfig
from obs_core._setup.manager import TracingManager, current_manager, set_current_manager
from obs_core._setup.middleware import MiddlewareConfig, request_tracing_middleware
from obs_core.exceptions import AlreadyConfiguredError, ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter

    from obs_core._config.settings import Settings

OnExistingProvider = Literal["attach", "fail", "skip"]
_lock = threading.RLock()
_parts: tuple[object, ...] = ()


class SetupResult(NamedTuple):
    """The result of `setup_tracing`."""

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
    """Set up tracing for this process; call this once, at start, before or after a fork.

    Args:
        config: The settings; unset settings come from the environment.
        instrument: ``"auto"`` also instruments every installed library that an installed obs package covers.
        on_existing_provider: For an existing global TracerProvider: ``"attach"`` our processors (default), ``"fail"``, or
            ``"skip"``: leave the provider alone and export nothing ourselves.
        replace: If this process is set up already, flush and stop that set-up and apply `config`; tracers stay valid.
        span_exporter: An exporter to use in place of OTLP, for instance in memory.
        span_processors: Called for each span before it is queued for export; exceptions are logged.

    Returns:
        ``(manager, middleware_config)``. A call with the same settings again returns the same manager.

    Raises:
        ConfigurationError: A setting is wrong; with ``strict=True`` also an environment variable.
        AlreadyConfiguredError: This process is set up with other settings and `replace` is False, or another provider
            exists and `on_existing_provider` is ``"fail"``.

    Thread-safe. A second call with the same settings makes no thread and no exporter.
    """
    # half of what importing obs_core would cost, and a process that only decorates or tests does without
    from obs_core._config.settings import resolve
    from obs_core._setup.build import assemble

    _check(config, instrument, on_existing_provider)
    global _parts
    with _lock:
        settings = resolve(config)
        parts = (span_exporter, *span_processors)
        manager = _reuse(settings, parts, replace)
        if manager is None:
            manager = assemble(
                settings, on_existing_provider, span_exporter, span_processors
            )
            set_current_manager(manager)
            _parts = parts
    if instrument == "auto":
        manager.instrument_all()
    return SetupResult(manager, _middleware(settings))


def _check(config: object, instrument: object, on_existing_provider: object) -> None:
    check.instance(TracingConfig)("config", config)
    if instrument not in ("auto", None):
        raise ConfigurationError(
            f"instrument={instrument!r} is not valid: use 'auto' or None"
        )
    if on_existing_provider not in ("attach", "fail", "skip"):
        raise ConfigurationError(
            f"on_existing_provider={on_existing_provider!r} is not valid: use attach, fail or skip"
        )


def _reuse(
    settings: Settings, parts: tuple[object, ...], replace: bool
) -> TracingManager | None:
    present = current_manager()
    if present is None or present.status.state == "stopped":
        return None
    if replace:
        present.shutdown()
        return None
    changed = _differences(settings, present.settings)
    if parts != _parts:
        changed.append("span_exporter or span_processors")
    if changed:
        raise AlreadyConfiguredError(
            f"tracing is set up already, with another {', '.join(changed)}: "
            "call setup_tracing once, or with replace=True to flush and stop the first"
        )
    return present


def _differences(settings: Settings, others: Settings) -> list[str]:
    names = sorted(settings.sources)
    return [name for name in names if getattr(settings, name) != getattr(others, name)]


def _middleware(settings: Settings) -> MiddlewareConfig:
    options: dict[str, Any] = {
        "service_name": settings.service_name,
        "correlation": settings.correlation,
        "redact": settings.redact,
    }
    return MiddlewareConfig(request_tracing_middleware, options)
