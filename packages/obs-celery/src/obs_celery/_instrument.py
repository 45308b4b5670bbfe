"""`instrument_celery` and its inverse."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from obs_core import integration
from obs_core.integration import InstrumentationHandle, instrument_once, require
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from obs_celery._options import EndHook, ErrorState, Options, PublishHook, Relation, StartHook

if TYPE_CHECKING:
    from celery import Celery

    from obs_celery._patches import Installation

_NAME = "celery"
_PACKAGE = "obs-celery"

_installation: Installation | None = None
_lock = threading.Lock()


def instrument_celery(
    app: Celery | None = None,
    *,
    relation: Relation = "parent",
    task_relations: Mapping[str, Relation] | None = None,
    link_after_s: float | None = None,
    exclude: Collection[str] = (),
    show_internal: bool = False,
    error_states: Collection[ErrorState] = (),
    capture_args: Collection[str] = (),
    max_value_bytes: int = 1024,
    redact: Collection[str] = (),
    publish_hook: PublishHook | None = None,
    start_hook: StartHook | None = None,
    end_hook: EndHook | None = None,
    flush_timeout_s: float = 2.0,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> InstrumentationHandle:
    """Trace what `app` publishes and executes: in services, workers (every pool) and beat, from this one call.

    Call it where the app is made, at import time, so that every process that imports the app is covered; before or after
    `setup_tracing`, before or after a fork. A second call for the same app with the same options changes nothing.

    Args:
        app: The app; None: every app that is not instrumented by itself, with these options.
        relation: ``"parent"``: an execution belongs to its producer's trace. ``"link"``: it starts its own trace, linked
            to the producer's span, and keeps the baggage. Groups and chords stay in one trace. One call chooses for itself
            by ``headers={RELATION_HEADER: "link"}``. Default ``"parent"``.
        task_relations: The relation by the task's name or glob, before `relation`; the first match counts.
        link_after_s: Link instead when the ETA or countdown is further away than this, in seconds. Default: never.
        exclude: Names or globs of tasks that get no span on either side; the context passes through them.
        show_internal: Show ``celery.chord_unlock``, ``celery.accumulate`` and ``celery.backend_cleanup``. Default False.
        error_states: Which of ``"REVOKED"`` (before it started), ``"EXPIRED"`` and ``"REJECTED"`` (without requeue) are
            errors. Default: none.
        capture_args: Names or globs of arguments to record as ``celery.args.<name>``. Default: none.
        max_value_bytes: Longest recorded argument or reason, in bytes of UTF-8. Default 1,024.
        redact: More name globs whose values are never recorded, beside obs-core's.
        publish_hook: Called with ``(span, task_name, headers)`` before a message is sent; it may change both.
        start_hook: Called with ``(span, task)`` before the task's body; ``task.request`` is there.
        end_hook: Called with ``(span, task, state)`` after it. A hook that raises is logged and changes nothing.
        flush_timeout_s: Longest time that a stopping child or worker waits for the collector, in seconds. Default 2.
        tracer_provider: Default: the global one, also when it is set later.
        meter_provider: Default: the global one.

    Returns:
        A handle whose ``uninstrument()`` takes all of it back.

    Raises:
        ConfigurationError: An option is wrong; the message says what, the value and the fix.
        AlreadyConfiguredError: The app is instrumented already, with other options.
        MissingDependencyError: Celery is not installed.
    """
    options = Options(
        relation=relation,
        task_relations=task_relations or {},
        link_after_s=link_after_s,
        exclude=exclude,
        show_internal=show_internal,
        error_states=error_states,
        capture_args=capture_args,
        max_value_bytes=max_value_bytes,
        redact=redact,
        publish_hook=publish_hook,
        start_hook=start_hook,
        end_hook=end_hook,
        flush_timeout_s=flush_timeout_s,
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
    )
    require("celery", package=_PACKAGE)
    integration.warn_unsupported_version(_PACKAGE, "celery")
    app = _evaluated(app)
    return instrument_once(
        _NAME,
        partial(_install, app, options),
        target=app,
        options=_by_name(options),
        defaults=_by_name(Options()),
    )


def _by_name(options: Options) -> dict[str, object]:
    return {field.name: getattr(options, field.name) for field in fields(options)}


def uninstrument_celery(app: Celery | None = None) -> None:
    """Take back what `instrument_celery` did for `app` (None: for all apps); live spans end, nothing stays behind."""
    integration.uninstrument(_NAME, target=_evaluated(app))


def _install(app: Any, options: Options) -> Callable[[], None]:
    from obs_celery._patches import Installation

    global _installation
    with _lock:
        if _installation is None or not _installation.setups:
            _installation = Installation()
        _installation.add(app, options)
        return partial(_uninstall, _installation, app)


def _uninstall(installation: Installation, app: Any) -> None:
    with _lock:
        installation.remove(app)


def _evaluated(app: Any) -> Any:
    """Return the app behind Celery's lazy proxies (``celery.current_app``)."""
    return app._get_current_object() if hasattr(type(app), "_get_current_object") else app
