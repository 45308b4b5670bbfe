"""A record of `logging` in OpenTelemetry's terms (https://opentelemetry.io/docs/specs/otel/logs/data-model/)."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanContext

from obs_core._config.in_force import redactor
from obs_core._correlation.ids import KEY, get_correlation_id
from obs_core._export.encode.logs import LogEntry
from obs_core._logs.values import MAX_TEXT_BYTES, plain_value, text_of
from obs_core._safety.redaction import Redactor
from obs_core._safety.text import truncate
from obs_core._spans.errors import exception_attributes

#: The fields that every record has, and those that formatters, filters and other libraries add for their own use.
_NO_ATTRIBUTES = frozenset(
    {
        *vars(logging.makeLogRecord({})),
        *("message", "asctime", "taskName", "color_message"),
        *("trace_id", "span_id", KEY),
        *("otelTraceID", "otelSpanID", "otelTraceSampled", "otelServiceName"),
    }
)
_MAX_ATTRIBUTES = 128
#: The names that OpenTelemetry displays for levels.
_LEVEL_NAMES = {"WARNING": "WARN", "CRITICAL": "FATAL"}
#: Celery logs the arguments of tasks beside each message, under this name.
_CELERY, _CELERY_ARGUMENTS = "celery.", "data"
#: The keys of the message and the exception in a dictionary that structlog logs.
_EVENT, _EXC_INFO = "event", "exc_info"
#: The name under which loguru gives what is bound.
_BOUND = "extra"


def entry_of(record: logging.LogRecord) -> LogEntry:
    """Return `record` with the ids of the current context. Never raises but for what the program put into the record."""
    secrets = redactor()
    body, more = _body(record, secrets)
    attributes, dropped = _bounded({**_extra(record, secrets), **more})
    attributes.update(_own(record))
    level = record.levelname
    nested = {
        name: value
        for name, value in attributes.items()
        if isinstance(value, (dict, list))
    }
    return LogEntry(
        time_ns=int(record.created * 1e9),
        observed_ns=time.time_ns(),
        severity=severity(record.levelno),
        severity_text=_LEVEL_NAMES.get(level, level),
        body=body,
        attributes={n: v for n, v in attributes.items() if n not in nested},
        nested=nested,
        dropped=dropped,
        context=_current_span(),
    )


def severity(level: int) -> int:
    """Return OpenTelemetry's severity number of a level of `logging`; 0 for no level."""
    if level < 10:
        return int(level > 0)
    step = min(level // 10, 5)
    return 1 + 4 * step + min(level - 10 * step, 3)


def _body(record: logging.LogRecord, secrets: Redactor) -> tuple[Any, dict[str, Any]]:
    """Return the body, and the attributes that are part of the message."""
    message = record.msg
    if isinstance(message, Mapping) and not record.args:
        rest = {key: value for key, value in message.items() if key != _EXC_INFO}
        found: dict[str, Any] = plain_value("", rest, secrets)
        if isinstance(event := found.get(_EVENT), str):
            del found[_EVENT]
            return event, found
        return found, {}
    return truncate(_text(record, secrets), MAX_TEXT_BYTES), {}


def _text(record: logging.LogRecord, secrets: Redactor) -> str:
    """Return the message with its arguments; those that are given by name are masked by name."""
    try:
        if isinstance(record.args, Mapping):
            masked = {
                name: secrets.value(str(name), value)
                for name, value in record.args.items()
            }
            return str(record.msg) % masked
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit, a __str__ that raises: the text alone
        return text_of(record.msg)


def _extra(record: logging.LogRecord, secrets: Redactor) -> dict[str, Any]:
    """Return the fields of ``extra=``."""
    found: dict[str, Any] = {}
    is_celery = record.name.startswith(_CELERY)
    for name, value in vars(record).items():
        if name in _NO_ATTRIBUTES or name.startswith("_") or value is None:
            continue
        if is_celery and name == _CELERY_ARGUMENTS:
            continue
        found[name] = plain_value(name, value, secrets)
    if isinstance(bound := found.get(_BOUND), dict):
        del found[_BOUND]
        found.update(bound)
    return found


def _bounded(attributes: dict[str, Any]) -> tuple[dict[str, Any], int]:
    dropped = max(0, len(attributes) - _MAX_ATTRIBUTES)
    if dropped:
        attributes = dict(list(attributes.items())[:_MAX_ATTRIBUTES])
    return attributes, dropped


def _own(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of the conventions."""
    correlation_id = get_correlation_id()
    if correlation_id is not None:
        yield KEY, correlation_id
    yield "code.file.path", record.pathname
    yield "code.line.number", record.lineno
    if record.funcName:
        yield "code.function.name", record.funcName
    if record.stack_info:
        yield "code.stacktrace", truncate(record.stack_info, MAX_TEXT_BYTES)
    yield from _exception(record).items()


def _exception(record: logging.LogRecord) -> dict[str, str]:
    error = _error(record)
    if error is not None:
        found = exception_attributes(error)
    elif record.exc_text:
        # of a record that has come from another process
        found = {"exception.stacktrace": record.exc_text}
    else:
        return {}
    return {name: truncate(text, MAX_TEXT_BYTES) for name, text in found.items()}


def _error(record: logging.LogRecord) -> BaseException | None:
    found: Any = record.exc_info
    if found is None and isinstance(record.msg, Mapping):
        found = record.msg.get(_EXC_INFO)
    if found is True:
        found = sys.exc_info()
    if isinstance(found, tuple) and len(found) == 3:
        found = found[1]
    return found if isinstance(found, BaseException) else None


def _current_span() -> SpanContext | None:
    context = trace.get_current_span().get_span_context()
    return context if context.is_valid else None
