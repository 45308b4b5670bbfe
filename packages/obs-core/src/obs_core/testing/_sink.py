"""A real OTLP receiver for tests of several processes."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from obs_core.testing._tree import render_tree

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


class OtlpSink:
    """An OTLP/HTTP receiver on a free loopback port, kept in a thread; a context manager.

    Attributes:
        url: Where to export to: ``TracingConfig(collector_url=sink.url)`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``.
        respond: HTTP status to answer with; set 503 to play an outage. Default 200.
    """

    def __init__(self, port: int = 0) -> None:
        self.respond: int = 200
        self._spans: list[SinkSpan] = []
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
        satisfied = enough if callable(enough) else lambda spans: len(spans) >= enough
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not satisfied(list(self._spans)):
                if (
                    not self._changed.wait(deadline - time.monotonic())
                    and time.monotonic() >= deadline
                ):
                    raise AssertionError(
                        f"after {timeout_s:g} s only {len(self._spans)} spans have come:\n{render_tree(self._spans)}"
                    )
            return list(self._spans)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if sink.respond == 200:
                    sink._receive(body)
                self.send_response(sink.respond)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        return Handler

    def _receive(self, body: bytes) -> None:
        spans = decode(body)
        with self._changed:
            self._spans += spans
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
