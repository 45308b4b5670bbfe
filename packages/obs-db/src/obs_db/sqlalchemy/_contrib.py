"""Contrib's instrumentation of SQLAlchemy as the implementation: its spans without literals and messages."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

from obs_core.integration import (
    REDACTED,
    ContribEngine,
    SpanShape,
    call_contained,
)
from opentelemetry import metrics, trace
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from obs_db._call import record_failure
from obs_db._options import SqlOptions
from obs_db.sqlalchemy._events import contrib, targets
from obs_db.sqlalchemy._outcome import error_code
from obs_db.sqlalchemy._state import LIBRARY
from obs_db.sqlalchemy._statement import describe

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

_STATEMENTS = ("db.statement", "db.query.text")
_SYSTEMS = ("db.system", "db.system.name")
_OPERATIONS = frozenset({"db.operation", "db.operation.name"})
_FIRST_WORD = re.compile(r"[A-Za-z]{1,32}")


def _rename(name: str, *_: object) -> str:
    """Return contrib's ``{first word} {database}``, of the first word its letters: ``VALUES('x')`` has a literal."""
    first, blank, rest = name.partition(" ")
    word = _FIRST_WORD.match(first)
    if word is None or word.group() == first:
        return name if word else f"?{blank}{rest}"
    return f"{word.group()}{blank}{rest}"


def _attribute(key: str, value: AttributeValue) -> AttributeValue:
    return _rename(value) if key in _OPERATIONS and isinstance(value, str) else value


def _mask(span: Any) -> None:
    """Mask the literals of the statement: at the end of the span, since the dialect is told after the statement."""
    attributes = span.attributes or {}
    dialect = next((attributes[key] for key in _SYSTEMS if key in attributes), "")
    for key in _STATEMENTS:
        if key in attributes:
            masked = call_contained("statement", describe, attributes[key], dialect)
            span.set_attribute(key, masked.text if masked else REDACTED)


def _outcome(span: Span, error: BaseException) -> bool:
    driver_error = getattr(error, "orig", None) or error
    record_failure(span, driver_error, error_code(driver_error))
    return True


engine = ContribEngine(
    {contrib: None},
    shape=SpanShape(rename=_rename, attribute=_attribute, edit=_mask, outcome=_outcome),
    is_ours_active=lambda: bool(targets),
    library=LIBRARY,
)


def install(single: Engine | None, options: SqlOptions) -> Callable[[], None]:
    """Let contrib trace the engine `single`, or with None every engine made from now on; return the undo."""
    provider = engine.provider(options, options.peer_attributes())
    if single is None:
        return engine.trace_all(
            options.implementation,
            tracer_provider=provider,
            meter_provider=options.meter_provider,
        )

    def trace_engine(module: Any, given: dict[str, object]) -> Callable[[], None]:
        scope = module.__name__, module.__version__
        tracer = trace.get_tracer(*scope, provider)
        meter = metrics.get_meter(*scope, options.meter_provider)
        usage = meter.create_up_down_counter(
            "db.client.connections.usage", "connections"
        )
        return _listen(module, single, (tracer, usage), given)

    return engine.trace_single(single.dialect, options.implementation, trace_engine)


def _listen(
    module: Any, single: Engine, parts: tuple[Any, Any], given: dict[str, object]
) -> Callable[[], None]:
    """Do for `single` what contrib's ``instrument(engine=...)`` does, which would trace all later engines too."""
    from wrapt import wrap_function_wrapper

    tracer, usage = parts
    listeners = module.EngineTracer._remove_event_listener_params
    try:
        module.EngineTracer(tracer, single, usage, **given)
    except TypeError as error:
        raise engine.unsupported(str(error)) from error
    wrap_function_wrapper(single, "connect", module._wrap_connect(tracer))

    return partial(_stop_listening, listeners, ref(single))


def _stop_listening(listeners: list[Any], reference: ref[Engine]) -> None:
    from sqlalchemy import event

    if (single := reference()) is None:
        return
    vars(single).pop("connect", None)
    for entry in [each for each in listeners if each[0]() is single]:
        listeners.remove(entry)
        event.remove(single, *entry[1:])
