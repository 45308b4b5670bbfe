"""A gRPC client and server: context propagates by itself."""

from concurrent import futures

import grpc
from obs_core import TracingConfig, setup_tracing
from obs_grpc import instrument_grpc_client, instrument_grpc_server

setup_tracing(TracingConfig(service_name="my-service"))


def hello(request: bytes, context: grpc.ServicerContext) -> bytes:
    return b"hello " + request


if __name__ == "__main__":
    server = instrument_grpc_server(grpc.server(futures.ThreadPoolExecutor()))
    handlers = {"Hello": grpc.unary_unary_rpc_method_handler(hello)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("demo.Greeter", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    instrumented_channel = instrument_grpc_client(channel)
    assert (
        instrumented_channel.unary_unary("/demo.Greeter/Hello")(b"ada", timeout=5)
        == b"hello ada"
    )
    channel.close()
    server.stop(grace=None).wait()
