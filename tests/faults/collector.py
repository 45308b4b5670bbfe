"""A collector that fails on command: a process that takes OTLP over HTTP or gRPC, and prints the name of every span taken.

    python -m tests.faults.collector http|grpc [HOST:]PORT [CERTIFICATE]

With the path of a certificate and its key, without their endings, it takes TLS alone.

Each line of standard input is an `Answer` as JSON, in force until the next line. The names of a request are printed before
the request is answered, so that a killed collector has printed all that was acknowledged.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

#: Longer than what a service waits for one export.
FAR_S = 120


@dataclass(frozen=True)
class Answer:
    """How every request is answered.

    Attributes:
        delay_s: Wait before the answer, in seconds, after the spans were taken.
        status: HTTP's status; a request with another than 200 is not taken.
        code: The same as gRPC's status code, by name.
        headers: HTTP's headers; a ``retry-after`` of ``date`` becomes the date in `FAR_S`.
        body: HTTP's body.
        rejected: So many spans of each request are not taken, as a partial success says.
        cut: Cut the connection: in the ``request``, which is not taken, or in the ``answer`` to spans that were taken.
    """

    delay_s: float = 0.0
    status: int = 200
    code: str = "OK"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    rejected: int = 0
    cut: str = ""

    def to_json(self) -> str:
        """Return the line that a collector reads."""
        return json.dumps(asdict(self))


class Current:
    """The answer in force; standard input sets it."""

    def __init__(self) -> None:
        self.answer = Answer()

    def follow(self) -> None:
        """Read answers until the input ends, then end the process."""
        for line in sys.stdin:
            self.answer = Answer(**json.loads(line))
            _say("+\n")
        os._exit(0)


_writing = threading.Lock()


def _say(text: str) -> None:
    with _writing:
        os.write(sys.stdout.fileno(), text.encode())


def _names(request: Any) -> list[str]:
    scopes = (scope for group in request.resource_spans for scope in group.scope_spans)
    return [span.name for scope in scopes for span in scope.spans]


def _take(request: Any, answer: Answer) -> Any:
    """Print what is taken of `request`, wait, and return OTLP's response."""
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    taken = _names(request)
    rejected = min(answer.rejected, len(taken))
    for part in _parts(taken[rejected:]):
        _say("".join(f"{name}\n" for name in part))
    time.sleep(answer.delay_s)
    response = trace_service_pb2.ExportTraceServiceResponse()
    if rejected:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = "too old"
    return response


def _parts(names: list[str], size: int = 100) -> Iterator[list[str]]:
    """Yield pieces that a pipe takes in one step."""
    for start in range(0, len(names), size):
        yield names[start : start + size]


class _Handler(BaseHTTPRequestHandler):
    """Answers as `current` says."""

    protocol_version = "HTTP/1.1"
    current = Current()

    def do_POST(self) -> None:
        """Take, or not, and answer, or not."""
        answer, length = self.current.answer, int(self.headers["content-length"])
        if answer.cut == "request":
            self.rfile.read(length // 2)
            self._cut()
            return
        body = self.rfile.read(length)
        if answer.status == 200 and not answer.body:
            response = _take(_parse(body), answer).SerializeToString()
            kind = {"content-type": "application/x-protobuf"}
            self._answer(answer, response, kind)
        else:
            self._answer(answer, answer.body.encode(), answer.headers)

    def _answer(self, answer: Answer, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(answer.status)
        for name, value in headers.items():
            if value == "date":
                value = formatdate(time.time() + FAR_S, usegmt=True)
            self.send_header(name, value)
        more = 10 if answer.cut == "answer" else 0
        self.send_header("content-length", str(len(body) + more))
        self.end_headers()
        self.wfile.write(body)
        if answer.cut:
            self._cut()

    def _cut(self) -> None:
        """Reset the connection."""
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def shutdown_request(self, request: Any) -> None:
        """Close without a shutdown before it, so that a reset that was asked for is sent."""
        self.close_request(request)

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that has gone."""


def _parse(body: bytes) -> Any:
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    return trace_service_pb2.ExportTraceServiceRequest.FromString(body)


def _serve_http(host: str, port: int, certificate: str, current: Current) -> None:
    _Handler.current = current
    server = _Server((host, port), _Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{certificate}.pem", f"{certificate}.key")
        # by the connection's own thread, with the first byte that is read
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    server.serve_forever()


def _serve_grpc(host: str, port: int, certificate: str, current: Current) -> None:
    import grpc
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

    class Servicer(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            answer = current.answer
            if answer.code != "OK":
                context.abort(getattr(grpc.StatusCode, answer.code), "as asked")
            response = _take(request, answer)
            if answer.cut:
                context.abort(grpc.StatusCode.UNAVAILABLE, "as asked")
            return response

    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Servicer(), server)
    if certificate:
        parts = (Path(f"{certificate}.{end}").read_bytes() for end in ("key", "pem"))
        credentials = grpc.ssl_server_credentials([tuple(parts)])
        server.add_secure_port(f"{host}:{port}", credentials)
    else:
        server.add_insecure_port(f"{host}:{port}")
    server.start()
    server.wait_for_termination()


def main(protocol: str, address: str, certificate: str = "") -> None:
    """Serve until the input ends."""
    current = Current()
    host, _, port = address.rpartition(":")
    serve = _serve_grpc if protocol == "grpc" else _serve_http
    told = (host or "127.0.0.1", int(port), certificate, current)
    threading.Thread(target=serve, args=told, daemon=True).start()
    current.follow()


if __name__ == "__main__":
    main(*sys.argv[1:])
