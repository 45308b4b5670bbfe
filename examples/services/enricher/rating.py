"""enricher's gRPC service: rates a text."""

import os
import signal
from concurrent import futures

import grpc
import tracing
from google.protobuf.wrappers_pb2 import DoubleValue, StringValue
from obs_core import trace_function
from obs_grpc import instrument_grpc_server


@trace_function
def rating_of(text: str) -> float:
    if not text:
        raise ValueError("there is nothing to rate")
    return round(min(1.0, len(set(text.split())) / 20), 2)


def rate(request: StringValue, context: grpc.ServicerContext) -> DoubleValue:
    return DoubleValue(value=rating_of(request.value))


def main() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server = instrument_grpc_server(
        server, identity_from_baggage=True
    )  # none but our own services can call this one
    method = grpc.unary_unary_rpc_method_handler(
        rate,
        request_deserializer=StringValue.FromString,
        response_serializer=DoubleValue.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("enricher.Rating", {"Rate": method}),)
    )
    server.add_insecure_port(os.environ["RATING_TARGET"])
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(grace=1))
    server.wait_for_termination()
    tracing.manager.shutdown()


if __name__ == "__main__":
    main()
