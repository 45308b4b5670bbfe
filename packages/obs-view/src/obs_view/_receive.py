"""Storing OTLP requests, and the answers that report rejected records."""

from __future__ import annotations

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)

from obs_view._bad_records import LOGS, METRICS, Parsed, Signal
from obs_view._store import Store
from obs_view._text import plural


def receive(store: Store, parsed: Parsed, signal: Signal) -> Message:
    """Store the request's spans, log records or metrics; the answer tells the sender how many were rejected, and why."""
    if signal is LOGS:
        return _receive_logs(store, parsed)
    if signal is METRICS:
        return _receive_metrics(store, parsed)
    answer = ExportTraceServiceResponse()
    without_ids = store.add(parsed.request)
    reasons = [_unreadable(parsed, "span")] if parsed.rejected else []
    if without_ids:
        spans = plural(without_ids, "span")
        reasons.insert(
            0, f"{spans} without a valid trace id (16 bytes) and span id (8 bytes)"
        )
    if reasons:
        answer.partial_success.rejected_spans = without_ids + parsed.rejected
        answer.partial_success.error_message = "; ".join(reasons)
    return answer


def _receive_logs(store: Store, parsed: Parsed) -> ExportLogsServiceResponse:
    answer = ExportLogsServiceResponse()
    store.logs.add(parsed.request)
    if parsed.rejected:
        answer.partial_success.rejected_log_records = parsed.rejected
        answer.partial_success.error_message = _unreadable(parsed, "log record")
    return answer


def _receive_metrics(store: Store, parsed: Parsed) -> ExportMetricsServiceResponse:
    answer = ExportMetricsServiceResponse()
    store.metrics.add(parsed.request)
    if parsed.rejected:
        # how many points an unreadable metric has cannot be known
        answer.partial_success.rejected_data_points = parsed.rejected
        answer.partial_success.error_message = _unreadable(parsed, "metric")
    return answer


def _unreadable(parsed: Parsed, noun: str) -> str:
    records = plural(parsed.rejected, noun)
    return f"{records} with values that OTLP does not allow: {parsed.reason:.300}"
