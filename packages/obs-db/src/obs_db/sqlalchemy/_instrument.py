"""SQLAlchemy, on public events: a span a statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from obs_core.integration import (
    ImplementationName,
    InstrumentationHandle,
    Roots,
    choose_implementation,
    instrument_once,
    option_error,
    require,
    uninstrument,
    warn_unsupported_version,
)
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from obs_db._options import SqlOptions
from obs_db.sqlalchemy import _contrib
from obs_db.sqlalchemy._events import contrib, targets
from obs_db.sqlalchemy._state import TracedEngines

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.ext.asyncio import AsyncEngine

_NAME = "sqlalchemy"


def instrument_sqlalchemy(
    engine: Engine | AsyncEngine | None = None,
    *,
    service_name: str | None = None,
    roots: Roots = "auto",
    include_broker: bool = False,
    slow_threshold_s: float | None = 0.5,
    n_plus_one_threshold: int | None = 10,
    capture_parameters: bool = False,
    trace_comments: bool = False,
    commenter_options: Mapping[str, bool] | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    implementation: ImplementationName | None = None,
    contrib_options: Mapping[str, object] | None = None,
) -> InstrumentationHandle:
    """Record a span for each statement that SQLAlchemy runs, named ``{OPERATION} {table}``.

    Args:
        engine: The engine to trace; None: every engine of this process, made before or after. The
            options of a single engine win over the options for all engines.
        service_name: Your team's name of the database; recorded as ``service.peer.name`` and
            ``peer.service``.
        roots: Whether a statement outside any span is recorded: True, False, or ``"auto"`` (default):
            in ordinary processes yes, in a process that takes work from a queue no.
        include_broker: Whether what Celery itself asks within a request is recorded too, of a broker or
            result backend in the database. Default False; outside any span it never is.
        slow_threshold_s: Seconds from which a statement's span gets an event
            ``obs.db.slow_statement`` with the line that ran the statement; default 0.5, None never.
        n_plus_one_threshold: The number of statements of the same shape under a span at which that span
            gets an event ``obs.db.n_plus_one``; default 10, None never.
        capture_parameters: Record parameters, each up to 256 bytes, names that look secret masked.
            Default False.
        trace_comments: Send the current span's ``traceparent`` to the database in a comment. Default
            False: each statement then has a different text, which fills prepared-statement caches.
        commenter_options: Send more in the comment, or less, as contrib's option of the same name does:
            ``db_driver``, ``db_framework``, ``opentelemetry_values`` (``traceparent``), each unless it is False.
            Default None: ``traceparent`` alone.
        tracer_provider: Default: the global provider.
        meter_provider: For the pool gauges; default: the global provider.
        implementation: ``"obs"``, or ``"contrib"``: OpenTelemetry's own instrumentation, of the extra
            ``obs-db[contrib]``, makes the spans, with these options and our limits around them; the other options
            are then refused. Default: what ``OBS_IMPLEMENTATION`` says, or ``"obs"``.
        contrib_options: Options and hooks of contrib's own instrumentor, for instance ``enable_commenter``.

    Returns:
        A handle; ``uninstrument()`` takes this call back. A second call for the same engine changes
        nothing.

    Raises:
        ConfigurationError: An option or `engine` is of a wrong type or value.
        AlreadyConfiguredError: The engine is instrumented already, with other options or by the other
            implementation.
        MissingDependencyError: SQLAlchemy or, for ``"contrib"``, its package is not installed.

    Thread-safe. Engines are held weakly.
    """
    require("sqlalchemy", package="obs-db")
    options = SqlOptions(
        service_name=service_name,
        roots=roots,
        include_broker=include_broker,
        slow_threshold_s=slow_threshold_s,
        n_plus_one_threshold=n_plus_one_threshold,
        capture_parameters=capture_parameters,
        trace_comments=trace_comments,
        commenter_options=commenter_options,
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
        implementation=choose_implementation(_NAME, implementation, contrib_options),
    )
    options.check_implementation()
    warn_unsupported_version("obs-db", "sqlalchemy")
    inner = _sync_engine(engine)
    return instrument_once(
        _NAME,
        lambda: _install(inner, options),
        target=_target(inner),
        options=options,
        defaults=SqlOptions(),
    )


def uninstrument_sqlalchemy(engine: Engine | AsyncEngine | None = None) -> None:
    """Undo `instrument_sqlalchemy` of the same `engine`; all else stays instrumented."""
    uninstrument(_NAME, target=_target(_sync_engine(engine)))


def _sync_engine(engine: object) -> Engine | None:
    from sqlalchemy.engine import Engine

    inner = getattr(engine, "sync_engine", engine)
    if inner is not None and not isinstance(inner, Engine):
        raise option_error(
            "engine", engine, "pass an Engine, an AsyncEngine, or nothing for all"
        )
    return inner


def _target(engine: Engine | None) -> Dialect | None:
    return None if engine is None else engine.dialect


def _install(engine: Engine | None, options: SqlOptions) -> Callable[[], None]:
    return _contrib.engine.install(
        options.implementation,
        contrib=lambda: _contrib.install(engine, options),
        ours=lambda: _install_ours(engine, options),
    )


def _install_ours(engine: Engine | None, options: SqlOptions) -> Callable[[], None]:
    if contrib.takes_over():
        return lambda: None
    mine = TracedEngines(options)
    remove = targets.add(_target(engine), mine)
    if engine is not None:
        mine.observe(engine)

    def undo() -> None:
        remove()
        for observed in mine.forget():
            if (others := targets.find(observed.dialect)) is not None:
                others.observe(observed)

    return undo
