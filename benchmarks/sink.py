"""What the contestants of a benchmark export to: a process that answers yes to whatever is posted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Yes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        # Datadog's tracer reads JSON, OTLP's exporters read nothing
        body = (
            b"{}"
            if "json" in self.headers.get("content-type", "") or "/v0." in self.path
            else b""
        )
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_GET = do_POST  # noqa: N815 - the names that the standard library calls

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def sink(protocol: str = "http") -> Iterator[int]:
    """Run it for the block; yield its port."""
    command = [sys.executable, __file__, protocol]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def serve_http() -> None:
    """Answer yes by HTTP."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Yes)
    print(server.server_port, flush=True)
    server.serve_forever()


def serve_grpc() -> None:
    """Answer yes by gRPC, to any method."""
    import grpc

    class Yes(grpc.GenericRpcHandler):
        def service(self, handler_call_details: object) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(lambda *_: b"")

    server = grpc.server(ThreadPoolExecutor(2), [Yes()])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    {"http": serve_http, "grpc": serve_grpc}[sys.argv[1]]()
