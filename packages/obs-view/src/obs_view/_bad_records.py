"""An OTLP request under construction: a record that cannot be read is left out and counted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.json_format import ParseError
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

# protobuf lets errors of Python's own conversions through: half an emoji is a UnicodeEncodeError
UNREADABLE = (
    *(DecodeError, ParseError),
    *(ValueError, TypeError, AttributeError, OverflowError, RecursionError),
)

Read = Callable[[Any, Message], Message]


class BadRequestError(Exception):
    """The sender's mistake: `status` is the HTTP status to answer with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Signal(NamedTuple):
    """A kind of OTLP request.

    Attributes:
        noun: A record, in messages.
        request: The message of the request.
        record: The message of a record.
        response: The message of the answer.
        rejected: The field of the answer's partial success that counts the records which were not taken.
        groups: The JSON name of the groups in a request, by resource.
        scopes: The JSON name of the groups in these, by scope.
        records: The JSON name of the records in these.
    """

    noun: str
    request: Any
    record: Any
    response: Any
    rejected: str
    groups: str
    scopes: str
    records: str


SPANS = Signal(
    "span",
    trace_service_pb2.ExportTraceServiceRequest,
    ProtoSpan,
    trace_service_pb2.ExportTraceServiceResponse,
    "rejected_spans",
    "resourceSpans",
    "scopeSpans",
    "spans",
)
LOGS = Signal(
    "log record",
    logs_service_pb2.ExportLogsServiceRequest,
    LogRecord,
    logs_service_pb2.ExportLogsServiceResponse,
    "rejected_log_records",
    "resourceLogs",
    "scopeLogs",
    "logRecords",
)
METRICS = Signal(
    "metric",
    metrics_service_pb2.ExportMetricsServiceRequest,
    Metric,
    metrics_service_pb2.ExportMetricsServiceResponse,
    "rejected_data_points",
    "resourceMetrics",
    "scopeMetrics",
    "metrics",
)


class Parsed(NamedTuple):
    """A request without the records that could not be read, how many those are, and the first reason."""

    request: Any
    rejected: int = 0
    reason: str = ""


class Builder:
    """Collects the parts of a request; `read` fills a message in, or raises an exception of UNREADABLE."""

    def __init__(self, signal: Signal, read: Read) -> None:
        self._signal = signal
        self._read = read
        self._request = signal.request()
        self._rejected = 0
        self._reason = ""
        names = signal.groups, signal.scopes, signal.records
        self._groups, self._scopes, self._records = map(_snake, names)

    def finish(self) -> Parsed:
        """Return the readable records."""
        return Parsed(self._request, self._rejected, self._reason)

    def reject(self, reason: object) -> None:
        """Count a record that cannot be read."""
        self._rejected += 1
        # a value quoted in it may be what no answer can be encoded with
        self._reason = (
            self._reason or str(reason).encode(errors="backslashreplace").decode()
        )

    def add_group(self, resource: Message) -> Any:
        """Begin the group of a resource."""
        return getattr(self._request, self._groups).add(resource=resource)

    def add_scope(self, group: Any, scope: Message) -> Any:
        """Begin the records of an instrumentation scope; return their list."""
        return getattr(getattr(group, self._scopes).add(scope=scope), self._records)

    def add_record(self, records: Any, content: Any) -> None:
        """Read a span, log record or metric, or reject it."""
        try:
            records.append(self._read(content, self._signal.record()))
        except UNREADABLE as error:
            self.reject(error)

    def resource(self, content: Any, attributes: Callable[[Any], Any]) -> Message:
        """Read a resource; if that fails, only the readable `attributes`."""
        return self._described(content, Resource(), attributes)

    def scope(self, content: Any, attributes: Callable[[Any], Any]) -> Message:
        """Read a scope; if that fails, only the readable `attributes`."""
        return self._described(content, InstrumentationScope(), attributes)

    def _described(
        self, content: Any, message: Any, attributes: Callable[[Any], Any]
    ) -> Message:
        try:
            return self._read(content, message)
        except UNREADABLE:
            message.Clear()
        for pair in attributes(content):
            try:
                message.attributes.append(self._read(pair, KeyValue()))
            except UNREADABLE:
                continue
        return message


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda match: "_" + match[0].lower(), name)
