"""`instrument_celery` and its inverse."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from obs_core.integration import (
    InstrumentationHandle,
    instrument_once,
    require,
    uninstrument,
    warn_unsupported_version,
)
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from obs_celery._options import ErrorState, OnEnd, OnPublish, OnStart, Options, Relation

if TYPE_CHECKING:
    from celery import Celery

_NAME = "celery"
_PACKAGE = "obs-celery"


def instrument_celery(
    app: Celery | None = None,
    *,
    relation: Relation = "parent",
    task_relations: Mapping[str, Relation] | None = None,
    link_after_s: float | None = None,
    exclude: Collection[str] = (),
    include_internal: bool = False,
    error_states: Collection[ErrorState] = (),
    capture_args: Collection[str] = (),
    max_value_bytes: int = 1024,
    redact: Collection[str] = (),
    on_publish: OnPublish | None = None,
    on_start: OnStart | None = None,
    on_end: OnEnd | None = None,
    flush_timeout_s: float = 2.0,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> InstrumentationHandle:
    """Trace the tasks that `app` publishes and executes, in services, workers (every pool) and beat.

    Call this where the app is made, at import time: then every process that imports the app is covered. Before or after
    `setup_tracing`, before or after a fork. A second call for the same app with the same options changes nothing.

    Args:
        app: The app. Default: every app without a call for that app alone.
        relation: ``"parent"``: an execution belongs to the producer's trace. ``"link"``: an execution starts a trace, linked
            to the producer's span, and keeps the baggage. Groups and chords stay together. A single message may choose
            by ``headers={RELATION_HEADER: "link"}``. Default ``"parent"``.
        task_relations: The relation by the task's name or glob, before `relation`; the first match counts.
        link_after_s: Link instead when the ETA or countdown is further away than this, in seconds. Default: never.
        exclude: Names or globs of tasks without spans on either side; the context passes through.
        include_internal: Show ``celery.chord_unlock``, ``celery.accumulate`` and ``celery.backend_cleanup``. Default False.
        error_states: Which of ``"REVOKED"`` (before the start), ``"EXPIRED"`` and ``"REJECTED"`` (without requeue) are
            errors. Default: none.
        capture_args: Names or globs of arguments to record as ``celery.args.<name>``. Default: none.
        max_value_bytes: Longest recorded argument or reason, in bytes of UTF-8. Default 1,024.
        redact: More name globs whose values are never recorded, beside obs-core's.
        on_publish: Called with ``(span, task_name, headers)`` before a message is sent; may change span and headers.
        on_start: Called with ``(span, task)`` before the task's body; ``task.request`` is set.
        on_end: Called with ``(span, task, state)`` after the body. A hook that raises is logged and changes nothing.
        flush_timeout_s: Longest time that a stopping child or worker waits for the collector, in seconds. Default 2.
        tracer_provider: Default: the global provider, also if set later.
        meter_provider: Default: the global provider.

    Returns:
        A handle whose ``uninstrument()`` undoes this call.

    Raises:
        ConfigurationError: An option is wrong; the message names the option, the value and the fix.
        AlreadyConfiguredError: The app is instrumented already, with other options.
        MissingDependencyError: Celery is not installed.
    """
    options = Options(
        relation=relation,
        task_relations=task_relations or {},
        link_after_s=link_after_s,
        exclude=exclude,
        include_internal=include_internal,
        error_states=error_states,
        capture_args=capture_args,
        max_value_bytes=max_value_bytes,
        redact=redact,
        on_publish=on_publish,
        on_start=on_start,
        on_end=on_end,
        flush_timeout_s=flush_timeout_s,
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
    )
    return _instrument(_evaluated(app), options)


def _instrument(app: Any, options: Options) -> InstrumentationHandle:
    require("celery", package=_PACKAGE)
    warn_unsupported_version(_PACKAGE, "celery")
    return instrument_once(
        _NAME,
        partial(_install, app, options),
        target=app,
        options=options,
        defaults=Options(),
    )


def uninstrument_celery(app: Celery | None = None) -> None:
    """Undo `instrument_celery` for `app` (default: all apps); live spans end, and Celery is as before."""
    uninstrument(_NAME, target=_evaluated(app))


def _install(app: Any, options: Options) -> Callable[[], None]:
    from obs_celery._patches import installation

    return installation.add(app, options)


def _evaluated(app: Any) -> Any:
    """Return the app behind Celery's lazy proxies (``celery.current_app``)."""
    return (
        app._get_current_object() if hasattr(type(app), "_get_current_object") else app
    )
