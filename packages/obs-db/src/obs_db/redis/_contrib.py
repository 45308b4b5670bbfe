"""Contrib's instrumentation of redis-py as the implementation: its spans without arguments, under bounded names."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any
from weakref import ref

from obs_core.integration import (
    ContribEngine,
    SpanShape,
)
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from obs_db._call import record_failure
from obs_db._options import Options
from obs_db.redis._attributes import MASK, PIPELINE, mask_command
from obs_db.redis._outcome import error_code, is_expected
from obs_db.redis._patches import contrib, targets
from obs_db.redis._state import LIBRARY, key_of

_STATEMENTS = frozenset({"db.statement", "db.query.text"})
# texts and documents of the user
_LEFT_OUT = ("redis.search.query", "redis.search.xdoc_")
_OWN_NAMES = frozenset({"redis", "redis.search", "redis.create_index"})
_MAX_STATEMENT_CHARS = 4096
_ON_CLIENT = ("execute_command", "pipeline", "_is_instrumented_by_opentelemetry")


def _rename(name: str, *_: object) -> str:
    """Return the name of the command; of a pipeline, which contrib names by all its commands, of the first."""
    return name if name in _OWN_NAMES or name.isdigit() else _name(name[:128])


@lru_cache(maxsize=1024)
def _name(commands: str) -> str:
    return mask_command(commands).rstrip(f" {MASK}") or MASK


def _name_pipeline(span: Any) -> None:
    if (span.attributes or {}).get("db.redis.pipeline_length", 1) > 1:
        span.update_name(PIPELINE)


def _attribute(key: str, value: AttributeValue) -> AttributeValue | None:
    if key in _STATEMENTS and isinstance(value, str):
        return _text(value[:_MAX_STATEMENT_CHARS])
    return None if key.startswith(_LEFT_OUT) else value


@lru_cache(maxsize=1024)
def _text(statement: str) -> str:
    return "\n".join(mask_command(line) for line in statement.split("\n"))


def _outcome(span: Span, error: BaseException) -> bool:
    is_failure = not is_expected(error)
    record_failure(span, error, error_code(error), expected=not is_failure)
    return is_failure


engine = ContribEngine(
    {contrib: None},
    shape=SpanShape(
        rename=_rename, attribute=_attribute, edit=_name_pipeline, outcome=_outcome
    ),
    is_ours_active=lambda: bool(targets),
    library=LIBRARY,
)


def install(client: Any, options: Options) -> Callable[[], None]:
    """Let contrib trace `client`, or with None every client; return the undo."""
    provider = engine.provider(options, options.peer_attributes())
    if client is None:
        return engine.trace_all(options.implementation, tracer_provider=provider)

    def trace_client(module: Any, given: dict[str, object]) -> Callable[[], None]:
        instrument = getattr(module.RedisInstrumentor, "instrument_client", None)
        if instrument is None:
            what = "this version traces all clients or none: leave the client out"
            raise engine.unsupported(what)
        before = _on_client(client)
        instrument(client, tracer_provider=provider, **given)
        return partial(_restore, ref(client), before)

    return engine.trace_single(key_of(client), options.implementation, trace_client)


def _on_client(client: Any) -> dict[str, object]:
    return {name: vars(client)[name] for name in _ON_CLIENT if name in vars(client)}


def _restore(reference: ref[Any], before: dict[str, object]) -> None:
    """Put back what contrib has set; its own ``uninstrument_client`` leaves the client marked as instrumented."""
    if (client := reference()) is not None:
        for name in _ON_CLIENT:
            vars(client).pop(name, None)
        vars(client).update(before)
