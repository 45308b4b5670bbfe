"""A gRPC client and server, traced with one line each; prints the trace.

``pip install ./packages/obs-core './packages/obs-grpc[instruments]' && python examples/grpc_unary.py``
"""

from __future__ import annotations

from concurrent import futures

import grpc
from obs_core.testing import record_spans
from obs_grpc import instrument_grpc_client, instrument_grpc_server


def greet(request: bytes, context: grpc.ServicerContext) -> bytes:
    return b"Hello, " + request


def main() -> None:
    server = instrument_grpc_server(grpc.server(futures.ThreadPoolExecutor(2)))
    methods = {"Greet": grpc.unary_unary_rpc_method_handler(greet)}
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("example.Greeter", methods)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    with instrument_grpc_client(grpc.insecure_channel(f"localhost:{port}")) as channel:
        print(channel.unary_unary("/example.Greeter/Greet")(b"world").decode())
    server.stop(None).wait()


if __name__ == "__main__":
    with (
        record_spans() as spans
    ):  # in a service: obs_core.setup_tracing(TracingConfig(service_name="greeter"))
        main()
        print(spans.tree(attributes=["rpc.grpc.status_code"]))
