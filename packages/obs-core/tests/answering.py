"""Collectors that answer each export as a test says, and when to ask again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc


@contextmanager
def http_collector(status: Callable[[], int], retry_after_s: int) -> Iterator[str]:
    """Answer over HTTP with what `status` returns; yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status())
            self.send_header("retry-after", str(retry_after_s))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def grpc_collector(
    code: Callable[[], grpc.StatusCode], retry_after_s: int
) -> Iterator[str]:
    """Answer over gRPC with what `code` returns; yield the URL."""
    # google.rpc.RetryInfo of less than 128 s
    retry_info = b"\x0a\x02\x08" + bytes([retry_after_s])

    def take(_: bytes, context: grpc.ServicerContext) -> bytes:
        if (answer := code()) is not grpc.StatusCode.OK:
            metadata = (("google.rpc.retryinfo-bin", retry_info),)
            context.set_trailing_metadata(metadata)
            context.abort(answer, "not now, or never")
        return b""

    class AnyService(grpc.GenericRpcHandler):
        def service(self, _: object) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(take)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[AnyService()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop(None).wait(5)
