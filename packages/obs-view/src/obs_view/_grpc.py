"""The OTLP/gRPC end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc

from obs_view._bad_records import LOGS, SPANS, BadRequestError, Signal
from obs_view._http import MAX_BODY_BYTES
from obs_view._read_protobuf import parse_protobuf
from obs_view._receive import receive
from obs_view._store import Store

_SERVICE = "opentelemetry.proto.collector.{0}.v1.{1}Service"


def start_server(store: Store, host: str, port: int) -> tuple[grpc.Server, int]:
    """Start a gRPC server for traces and logs on `host` and `port` (0: any free port); return the server and the port.

    Metrics are accepted and thrown away, as over HTTP.

    Raises:
        OSError: The port is in use.
    """
    options = [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MAX_BODY_BYTES),
    ]
    server = grpc.server(
        ThreadPoolExecutor(4, thread_name_prefix="obs-view-grpc"), options=options
    )
    server.add_generic_rpc_handlers(
        (
            _handler(
                "trace",
                "Trace",
                lambda body, context: _export(store, SPANS, body, context),
            ),
            _handler(
                "logs",
                "Logs",
                lambda body, context: _export(store, LOGS, body, context),
            ),
            _handler("metrics", "Metrics", lambda body, context: b""),
        )
    )
    try:
        bound = server.add_insecure_port(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        )
    except RuntimeError as error:
        raise OSError(str(error)) from error
    server.start()
    return server, bound


def _handler(signal: str, name: str, export: object) -> grpc.GenericRpcHandler:
    # without a deserializer the bytes come as they are, so that bad ones are answered with INVALID_ARGUMENT, not INTERNAL
    methods = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    return grpc.method_handlers_generic_handler(_SERVICE.format(signal, name), methods)


def _export(
    store: Store, signal: Signal, body: bytes, context: grpc.ServicerContext
) -> bytes:
    try:
        parsed = parse_protobuf(body, signal)
    except BadRequestError as error:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        raise
    return bytes(receive(store, parsed, signal).SerializeToString())
