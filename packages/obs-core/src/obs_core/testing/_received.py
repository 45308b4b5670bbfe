"""OTLP requests as plain objects: spans, log records and points of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUS = ("UNSET", "OK", "ERROR")


@dataclass(frozen=True, slots=True)
class SinkSpan:
    """A received span; ids are ints, `parent_id` is 0 for a root, times are nanoseconds since the epoch."""

    name: str
    service: str
    kind: str
    status: str
    description: str
    trace_id: int
    span_id: int
    parent_id: int
    start_time: int
    end_time: int
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    events: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    links: tuple[tuple[int, int], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class SinkLog:
    """A received log record; ids are ints, 0 for none, `time` is nanoseconds since the epoch, `logger` the scope's name."""

    body: Any
    service: str
    logger: str
    severity: int
    severity_text: str
    trace_id: int
    span_id: int
    flags: int
    time: int
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    dropped_attributes: int = 0


@dataclass(frozen=True, slots=True)
class SinkPoint:
    """A received point of a metric; `value` is the number, or the sum of a histogram, whose `count` and `bounds` are set."""

    name: str
    unit: str
    kind: str
    scope: str
    value: float
    count: int
    bounds: tuple[float, ...]
    start_time: int
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    exemplars: tuple[int, ...] = ()


def decode(body: bytes) -> list[SinkSpan]:
    """Decode an OTLP ``ExportTraceServiceRequest``."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
    )

    request = ExportTraceServiceRequest.FromString(body)
    return [
        _span(span, _attributes(group.resource.attributes))
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def decode_logs(body: bytes) -> list[SinkLog]:
    """Decode an OTLP ``ExportLogsServiceRequest``."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
        ExportLogsServiceRequest,
    )

    request = ExportLogsServiceRequest.FromString(body)
    return [
        _log(record, scope.scope.name, _attributes(group.resource.attributes))
        for group in request.resource_logs
        for scope in group.scope_logs
        for record in scope.log_records
    ]


def decode_metrics(body: bytes) -> list[SinkPoint]:
    """Decode an OTLP ``ExportMetricsServiceRequest``."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    request = ExportMetricsServiceRequest.FromString(body)
    return [
        _point(point, metric, scope.scope.name, group.resource)
        for group in request.resource_metrics
        for scope in group.scope_metrics
        for metric in scope.metrics
        for point in getattr(metric, metric.WhichOneof("data")).data_points
    ]


def _point(point: Any, metric: Any, scope: str, resource: Any) -> SinkPoint:
    kind = metric.WhichOneof("data")
    is_number = kind in ("sum", "gauge")
    which = point.WhichOneof("value") if is_number else "sum"
    return SinkPoint(
        name=metric.name,
        unit=metric.unit,
        kind=kind,
        scope=scope,
        value=getattr(point, which),
        count=getattr(point, "count", 1),
        bounds=tuple(getattr(point, "explicit_bounds", ())),
        start_time=point.start_time_unix_nano,
        attributes=_attributes(point.attributes),
        resource=_attributes(resource.attributes),
        exemplars=tuple(
            int.from_bytes(exemplar.trace_id, "big") for exemplar in point.exemplars
        ),
    )


def _log(record: Any, logger: str, resource: dict[str, Any]) -> SinkLog:
    return SinkLog(
        body=_value(record.body),
        service=str(resource.get("service.name", "")),
        logger=logger,
        severity=record.severity_number,
        severity_text=record.severity_text,
        trace_id=int.from_bytes(record.trace_id, "big"),
        span_id=int.from_bytes(record.span_id, "big"),
        flags=record.flags,
        time=record.time_unix_nano,
        attributes=_attributes(record.attributes),
        resource=resource,
        dropped_attributes=record.dropped_attributes_count,
    )


def _span(span: Any, resource: dict[str, Any]) -> SinkSpan:
    return SinkSpan(
        name=span.name,
        service=str(resource.get("service.name", "")),
        kind=_KINDS[span.kind],
        status=_STATUS[span.status.code],
        description=span.status.message,
        trace_id=int.from_bytes(span.trace_id, "big"),
        span_id=int.from_bytes(span.span_id, "big"),
        parent_id=int.from_bytes(span.parent_span_id, "big"),
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        resource=resource,
        events=tuple(
            (event.name, _attributes(event.attributes)) for event in span.events
        ),
        links=tuple(
            (int.from_bytes(link.trace_id, "big"), int.from_bytes(link.span_id, "big"))
            for link in span.links
        ),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_value(item) for item in value.array_value.values]
    if which == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, which) if which else None
