"""SQLAlchemy, on its public events: one span a statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time_ns
from typing import TYPE_CHECKING, Any

from obs_core.exceptions import ConfigurationError
from obs_core.integration import (
    InstrumentationHandle,
    call_contained,
    instrument_once,
    require,
    uninstrument,
    warn_unsupported_version,
)
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, TracerProvider
from opentelemetry.util.types import AttributeValue

from obs_db._caller import caller_attributes
from obs_db._chosen import forgetting
from obs_db._comment import add_comment
from obs_db._contrib import Contrib
from obs_db._options import Roots, SqlOptions
from obs_db._outcome import batch_attributes, error_code, parameter_attributes, row_attributes
from obs_db._patches import Shared
from obs_db._spans import Call, record_failure
from obs_db._statement import Statement, describe
from obs_db._traced import TracedEngine, TracedEngines

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine, ExceptionContext
    from sqlalchemy.ext.asyncio import AsyncEngine

_contrib = Contrib("opentelemetry.instrumentation.sqlalchemy:SQLAlchemyInstrumentor")
_BEGUN = "_obs_db_begun"
_traced = TracedEngines()


def instrument_sqlalchemy(
    engine: Engine | AsyncEngine | None = None,
    *,
    service_name: str | None = None,
    roots: Roots = "auto",
    slow_threshold_s: float | None = 0.5,
    n_plus_one_threshold: int | None = 10,
    capture_parameters: bool = False,
    trace_comments: bool = False,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> InstrumentationHandle:
    """Give each statement that SQLAlchemy runs one span, named ``{OPERATION} {table}``.

    Args:
        engine: The engine to trace; None: every engine of this process, made before or after. What an engine was told of
            its own wins over what all engines were told.
        service_name: What your team calls the database; recorded as ``service.peer.name`` and ``peer.service``.
        roots: Whether a statement outside any span gets one: True, False, or ``"auto"`` (default): in ordinary processes
            yes, in a process that takes its work from a queue no.
        slow_threshold_s: Seconds from which a statement's span gets an event ``obs.db.slow_statement`` with the line that
            ran it; default 0.5, None never.
        n_plus_one_threshold: At how many statements of one shape under one span that span gets an event
            ``obs.db.n_plus_one``; default 10, None never.
        capture_parameters: Record parameters, each up to 256 bytes, names that look secret masked. Default False.
        trace_comments: Send the current span's ``traceparent`` to the database in a comment. Default False: each
            statement is a text of its own then, which prepared-statement caches do not like.
        tracer_provider: Default: the global one.
        meter_provider: For the pool gauges; default: the global one.

    Returns:
        A handle; its ``uninstrument()`` takes this call back. A second call for the same engine changes nothing.

    Raises:
        ConfigurationError: An option or `engine` is not what it should be.
        MissingDependencyError: SQLAlchemy is not installed.

    Thread-safe. Engines are held weakly.
    """
    require("sqlalchemy", package="obs-db")
    options = SqlOptions(
        service_name=service_name,
        roots=roots,
        slow_threshold_s=slow_threshold_s,
        n_plus_one_threshold=n_plus_one_threshold,
        capture_parameters=capture_parameters,
        trace_comments=trace_comments,
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
    )
    warn_unsupported_version("obs-db", "sqlalchemy")
    target = _sync_engine(engine)
    return instrument_once("sqlalchemy", lambda: _install(target, options), target=target)


def uninstrument_sqlalchemy(engine: Engine | AsyncEngine | None = None) -> None:
    """Undo `instrument_sqlalchemy` of the same `engine`; what was told of other engines stays."""
    uninstrument("sqlalchemy", target=_sync_engine(engine))


def _sync_engine(engine: object) -> Engine | None:
    from sqlalchemy.engine import Engine

    inner = getattr(engine, "sync_engine", engine)
    if inner is not None and not isinstance(inner, Engine):
        raise ConfigurationError(
            f"engine is a {type(engine).__qualname__}: pass an Engine, an AsyncEngine, or nothing for all"
        )
    return inner


def _install(engine: Engine | None, options: SqlOptions) -> Callable[[], None]:
    if _contrib.takes_over():
        return lambda: None
    _traced.choose(engine, options)
    _events.acquire()
    forget = forgetting(_traced.forget, engine.dialect if engine is not None else None)

    def undo() -> None:
        _events.release()
        forget()

    return undo


def _before(
    conn: Connection,
    cursor: object,
    statement: str,
    parameters: Any,
    context: Any,
    executemany: bool,
) -> tuple[str, Any]:
    traced = _traced.get(conn.engine)
    if traced is None or context is None:
        return statement, parameters
    sent = statement
    if traced.sql_options.trace_comments:
        sent = call_contained("trace comment", add_comment, statement) or statement
    setattr(context, _BEGUN, (traced, statement, parameters, time_ns()))
    return sent, parameters


def _after(
    conn: object, cursor: Any, statement: str, parameters: object, context: Any, executemany: bool
) -> None:
    begun = _take(context)
    if begun is not None:
        call_contained("sqlalchemy span", _record, begun, context, cursor, executemany)


def _failed(context: ExceptionContext) -> None:
    begun = _take(context.execution_context)
    if begun is not None:
        call_contained(
            "sqlalchemy span",
            _record,
            begun,
            context.execution_context,
            None,
            False,
            context.original_exception,
        )


_LISTENERS: tuple[tuple[str, Callable[..., Any], Mapping[str, bool]], ...] = (
    ("before_cursor_execute", _before, {"retval": True}),
    ("after_cursor_execute", _after, {}),
    ("handle_error", _failed, {}),
)


def _listen() -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    for name, listener, options in _LISTENERS:
        event.listen(Engine, name, listener, **options)


def _unlisten() -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    for name, listener, _ in _LISTENERS:
        event.remove(Engine, name, listener)


_events = Shared(_listen, _unlisten)
_Begun = tuple[TracedEngine, str, Any, int]


def _take(context: Any) -> _Begun | None:
    """Return what `_before` left and remove it: an error that comes later is not the statement's."""
    begun: _Begun | None = context.__dict__.pop(_BEGUN, None) if context is not None else None
    return begun


def _record(
    begun: _Begun, context: Any, cursor: Any, executemany: bool, error: BaseException | None = None
) -> None:
    traced, sql, parameters, started = begun
    ended = time_ns()
    call = Call()
    if call.is_left_out(traced) or (_contrib.is_active() and _contrib_traces(context.engine)):
        return
    statement = describe(sql, traced.dialect, former_names=traced.options.former_names)
    attributes = {
        **traced.attributes,
        **statement.attributes,
        **row_attributes(traced.dialect, cursor),
    }
    if executemany:
        attributes.update(batch_attributes(context, parameters))
    span = call.start_span(traced, statement.name or traced.fallback_name, started, attributes)
    if span.is_recording():
        if traced.sql_options.capture_parameters:
            span.set_attributes(parameter_attributes(parameters))
        if error is not None:
            record_failure(span, error, error_code(error))
        _note(traced, statement, span, call.parent, (ended - started) / 1e9)
    span.end(ended)


def _contrib_traces(engine: Engine) -> bool:
    """Whether contrib, switched on after us, listens to this engine too: it does not to every one."""
    listeners = engine.dispatch.before_cursor_execute
    listens = any(
        str(getattr(each, "__module__", "")).startswith(_contrib.module) for each in listeners
    )
    return listens and _contrib.takes_over()


def _note(
    traced: TracedEngine, statement: Statement, span: Span, parent: Span, duration_s: float
) -> None:
    threshold = traced.sql_options.slow_threshold_s
    if threshold is not None and duration_s >= threshold:
        told: dict[str, AttributeValue] = {"obs.db.duration": duration_s, **caller_attributes()}
        span.add_event("obs.db.slow_statement", told)
    if traced.repeats is not None and parent.is_recording() and statement.text:
        traced.repeats.note(parent, statement)
