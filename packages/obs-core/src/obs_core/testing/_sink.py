"""A real OTLP receiver for tests of several processes."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from obs_core.testing._tree import render_tree

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUS = ("UNSET", "OK", "ERROR")
T = TypeVar("T")


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


class OtlpSink:
    """An OTLP/HTTP receiver of spans and log records on a free loopback port, kept in a thread; a context manager.

    Attributes:
        url: Where to export to: ``TracingConfig(collector_url=sink.url)`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``; log
            records go beside.
        respond: HTTP status to answer with; set 503 to play an outage. Default 200.
    """

    def __init__(self, port: int = 0) -> None:
        self.respond: int = 200
        self._spans: list[SinkSpan] = []
        self._logs: list[SinkLog] = []
        self._metrics: list[SinkPoint] = []
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url: str = f"http://127.0.0.1:{self.port}/v1/traces"
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.02},
            daemon=True,
        )

    def __enter__(self) -> OtlpSink:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def spans(self) -> list[SinkSpan]:
        """All received spans, in order of arrival."""
        with self._changed:
            return list(self._spans)

    @property
    def logs(self) -> list[SinkLog]:
        """All received log records, in order of arrival."""
        with self._changed:
            return list(self._logs)

    def named(self, name: str) -> list[SinkSpan]:
        """The received spans of that name."""
        return [span for span in self.spans if span.name == name]

    def tree(self, *, attributes: Iterable[str] = ()) -> str:
        """Return the received spans as a tree: see `render_tree`."""
        return render_tree(self.spans, attributes=attributes)

    def wait_for(
        self, enough: int | Callable[[list[SinkSpan]], bool], timeout_s: float = 30.0
    ) -> list[SinkSpan]:
        """Wait for `enough` spans, or until `enough` returns true; return all spans.

        Raises:
            AssertionError: Not within `timeout_s`; the message is the tree of the received spans.
        """
        self._wait(self._spans, enough, timeout_s, "spans")
        return self.spans

    def wait_for_logs(
        self, enough: int | Callable[[list[SinkLog]], bool], timeout_s: float = 30.0
    ) -> list[SinkLog]:
        """Wait for `enough` log records, or until `enough` returns true; return all log records.

        Raises:
            AssertionError: Not within `timeout_s`; the message has the bodies of the received records.
        """
        self._wait(self._logs, enough, timeout_s, "log records")
        return self.logs

    @property
    def metrics(self) -> list[SinkPoint]:
        """All received points of metrics, in order of arrival."""
        with self._changed:
            return list(self._metrics)

    def wait_for_metrics(
        self, enough: Callable[[list[SinkPoint]], bool], timeout_s: float = 30.0
    ) -> list[SinkPoint]:
        """Wait until `enough` returns true; return all points of metrics.

        Raises:
            AssertionError: Not within `timeout_s`.
        """
        self._wait(self._metrics, enough, timeout_s, "points")
        return self.metrics

    def _wait(
        self,
        received: list[T],
        enough: int | Callable[[list[T]], bool],
        timeout_s: float,
        noun: str,
    ) -> None:
        satisfied = enough if callable(enough) else lambda items: len(items) >= enough
        with self._changed:
            if not self._changed.wait_for(lambda: satisfied(list(received)), timeout_s):
                raise AssertionError(
                    f"after {timeout_s:g} s only {len(received)} {noun} have come:\n"
                    f"{self._shown(received)}"
                )

    def _shown(self, received: object) -> str:
        if received is self._spans:
            return render_tree(self._spans)
        if received is self._metrics:
            return "\n".join(map(repr, self._metrics))
        return "\n".join(f"{log.severity_text} {log.body}" for log in self._logs)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if sink.respond == 200:
                    sink._receive(self.path, body)
                self.send_response(sink.respond)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        return Handler

    def _receive(self, path: str, body: bytes) -> None:
        received: list[Any] = self._spans
        items: list[Any]
        if path.endswith("/v1/logs"):
            received, items = self._logs, decode_logs(body)
        elif path.endswith("/v1/metrics"):
            received, items = self._metrics, decode_metrics(body)
        else:
            items = decode(body)
        with self._changed:
            received += items
            self._changed.notify_all()


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
