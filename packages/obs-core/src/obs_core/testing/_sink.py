"""A real OTLP receiver for tests of several processes."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from obs_core.testing._received import (
    SinkLog,
    SinkPoint,
    SinkSpan,
    decode,
    decode_logs,
    decode_metrics,
)
from obs_core.testing._tree import render_tree

T = TypeVar("T")


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
