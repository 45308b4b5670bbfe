"""SQLAlchemy's engine events: a span a statement, a span below if fetching rows failed, the event of a slow statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time_ns
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from obs_core.integration import Contrib, Targets, call_contained, context_with
from opentelemetry.context import get_current
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext
from opentelemetry.util.types import AttributeValue

from obs_db._call import Call, record_failure
from obs_db.sqlalchemy._batches import batch_attributes, is_loader_batch
from obs_db.sqlalchemy._caller import caller_attributes
from obs_db.sqlalchemy._comment import add_comment
from obs_db.sqlalchemy._outcome import (
    error_code,
    parameter_attributes,
    row_attributes,
)
from obs_db.sqlalchemy._state import TracedEngine, TracedEngines
from obs_db.sqlalchemy._statement import Statement, describe

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine, ExceptionContext

contrib = Contrib(
    "opentelemetry.instrumentation.sqlalchemy:SQLAlchemyInstrumentor", package="obs-db"
)
T = TypeVar("T")


class _Running(NamedTuple):
    """A statement that the driver has been given."""

    traced: TracedEngine
    sql: str
    parameters: Any
    is_batch: bool
    started: int


class _Done(NamedTuple):
    """A statement whose span is recorded, and whose rows may still be fetched."""

    traced: TracedEngine
    statement: Statement
    attributes: Mapping[str, AttributeValue]
    span: SpanContext
    ended: int


def _before(
    conn: Connection,
    cursor: object,
    statement: str,
    parameters: Any,
    context: Any,
    executemany: bool,
) -> tuple[str, Any]:
    engines = targets.find(conn.dialect)
    if engines is None or context is None:
        return statement, parameters
    traced = engines.get(conn.engine)
    if traced is None:
        return statement, parameters
    sent = statement
    if traced.options.trace_comments:
        chosen = traced.options.commenter_options
        given = statement, conn, chosen
        sent = call_contained("trace comment", add_comment, *given) or statement
    context._obs_db = _Running(traced, statement, parameters, executemany, time_ns())
    return sent, parameters


def _after(
    conn: object,
    cursor: Any,
    statement: str,
    parameters: object,
    context: Any,
    executemany: bool,
) -> None:
    running = _take(context, _Running)
    if running is not None:
        call_contained("sqlalchemy span", _record, running, context, cursor)


def _failed(failure: ExceptionContext) -> None:
    context, error = failure.execution_context, failure.original_exception
    running = _take(context, _Running)
    if running is not None:
        call_contained("sqlalchemy span", _record, running, context, None, error)
        return
    done = _take(context, _Done)
    if done is not None:
        call_contained("sqlalchemy span", _record_failed_fetch, done, error)


_LISTENERS: tuple[tuple[str, Callable[..., Any], Mapping[str, bool]], ...] = (
    ("before_cursor_execute", _before, {"retval": True}),
    ("after_cursor_execute", _after, {}),
    ("handle_error", _failed, {}),
)


def _listen() -> Callable[[], None]:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    for name, listener, options in _LISTENERS:
        event.listen(Engine, name, listener, **options)

    def unlisten() -> None:
        for name, listener, _ in _LISTENERS:
            event.remove(Engine, name, listener)

    return unlisten


#: By an engine's dialect.
targets: Targets[TracedEngines] = Targets(_listen)


def _take(context: Any, kind: type[T]) -> T | None:
    """Remove and return the value kept with `context`, if the value is of type `kind`."""
    kept = getattr(context, "_obs_db", None)
    if not isinstance(kept, kind):
        return None
    context._obs_db = None
    return kept


def _record(
    running: _Running, context: Any, cursor: Any, error: BaseException | None = None
) -> None:
    traced, ended, current = running.traced, time_ns(), get_current()
    if not traced.policy.wants_span(current):
        return
    if (contrib.singles or contrib.is_active()) and _contrib_traces(context.engine):
        return
    call = Call(current)
    statement = describe(running.sql, traced.dialect, traced.options.former_names)
    place = traced.attributes_of(context.root_connection, may_ask=error is None)
    attributes = {
        **place,
        **statement.attributes,
        **row_attributes(traced.dialect, cursor),
    }
    if running.is_batch:
        attributes.update(batch_attributes(context, running.parameters))
    span = call.start_span(
        traced, statement.name or traced.fallback_name, running.started, attributes
    )
    if span.is_recording():
        _add_details(running, context, statement, span, (ended - running.started) / 1e9)
        if error is not None:
            record_failure(span, error, error_code(error))
        if not running.is_batch:
            _count(traced, statement, call.parent, context)
    span.end(ended)
    if error is None:
        context._obs_db = _Done(
            traced, statement, place, span.get_span_context(), ended
        )


def _contrib_traces(engine: Engine) -> bool:
    """Whether contrib, switched on after us, listens to this engine: contrib may skip some engines."""
    listeners = engine.dispatch.before_cursor_execute
    listens = any(
        str(getattr(each, "__module__", "")).startswith(contrib.module)
        for each in listeners
    )
    return listens and contrib.takes_over(engine.dialect)


def _add_details(
    running: _Running, context: Any, statement: Statement, span: Span, duration_s: float
) -> None:
    options = running.traced.options
    if options.capture_parameters and not running.is_batch:
        span.set_attributes(parameter_attributes(context, running.parameters))
    if options.slow_threshold_s is not None and duration_s >= options.slow_threshold_s:
        event: dict[str, AttributeValue] = {
            "obs.db.duration": duration_s,
            **caller_attributes(),
        }
        span.add_event("obs.db.slow_statement", event)


def _count(
    traced: TracedEngine, statement: Statement, parent: Span, context: Any
) -> None:
    if parent.is_recording() and statement.text:
        traced.repeats.note(
            parent, statement, is_batch=lambda: is_loader_batch(context)
        )


def _record_failed_fetch(done: _Done, error: BaseException) -> None:
    """Make a span below the statement's span, for fetching rows.

    The span begins at the end of the statement's span.
    """
    traced, statement = done.traced, done.statement
    call = Call(context_with(NonRecordingSpan(done.span)))
    if not traced.policy.wants_span(call.context):
        return
    operation = traced.named({"db.operation.name": "FETCH"})
    attributes = {**done.attributes, **statement.attributes, **operation}
    name = f"FETCH {statement.table or ''}".rstrip()
    span = call.start_span(traced, name, done.ended, attributes)
    if span.is_recording():
        record_failure(span, error, error_code(error))
    span.end()
