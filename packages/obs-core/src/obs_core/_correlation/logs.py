"""`TraceContextFilter`: trace, span and correlation ids on log records."""

from __future__ import annotations

import logging

from opentelemetry import trace

from obs_core._correlation.ids import get_correlation_id

NOTHING = "-"


class TraceContextFilter(logging.Filter):
    """Adds ``trace_id``, ``span_id`` (lower-case hex) and ``correlation_id`` to each record; passes every record.

    A missing id is ``"-"``, so a format string may always name all three. Add the filter to a handler: a logger's filter
    does not see the records of child loggers. Works from `logging.config.dictConfig`
    (``{"()": "obs_core.TraceContextFilter"}``) and on Celery's loggers. Thread- and fork-safe: without state.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Stamp `record`; a value that the caller gave with ``extra=`` stays."""
        trace_id, span_id = _current_ids()
        _stamp(record, "trace_id", trace_id)
        _stamp(record, "span_id", span_id)
        _stamp(record, "correlation_id", get_correlation_id() or NOTHING)
        return True


def _current_ids() -> tuple[str, str]:
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return NOTHING, NOTHING
    return trace.format_trace_id(context.trace_id), trace.format_span_id(
        context.span_id
    )


def _stamp(record: logging.LogRecord, name: str, value: str) -> None:
    if not hasattr(record, name):
        setattr(record, name, value)
