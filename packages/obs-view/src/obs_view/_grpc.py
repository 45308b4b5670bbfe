"""The OTLP/gRPC end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc

from obs_view._bad_records import LOGS, METRICS, SPANS, BadRequestError, Signal
from obs_view._http import MAX_BODY_BYTES
from obs_view._read_protobuf import parse_protobuf
from obs_view._receive import receive
from obs_view._store import Store

_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_BODY_BYTES),
)
_SERVICE = "opentelemetry.proto.collector.{0}.v1.{1}Service"


def start_server(store: Store, host: str, port: int) -> tuple[grpc.Server, int]:
    """Start a gRPC server for all signals on `host` and `port` (0: any free port); return the server and the port.

    Raises:
        OSError: The port is in use.
    """
    pool = ThreadPoolExecutor(4, thread_name_prefix="obs-view-grpc")
    server = grpc.server(pool, options=_OPTIONS)
    handlers = (
        _handler("trace", "Trace", partial(_export, store, SPANS)),
        _handler("logs", "Logs", partial(_export, store, LOGS)),
        _handler("metrics", "Metrics", partial(_export, store, METRICS)),
    )
    server.add_generic_rpc_handlers(handlers)
    address = f"[{host}]" if ":" in host else host
    try:
        bound = server.add_insecure_port(f"{address}:{port}")
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
