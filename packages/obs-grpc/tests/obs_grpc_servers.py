"""Real servers on loopback with generic handlers, whose messages are bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import grpc.aio
from obs_core.testing import SpanRecorder, wait_until
from obs_grpc import instrument_grpc_server

SERVICE = "test.Generic"
TIMEOUT_S = 60.0


def handlers(**functions: Any) -> grpc.GenericRpcHandler:
    """Return a service of `functions`, named as their shapes with anything appended: ``unary_stream_slow``."""
    shapes = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
    methods = {
        name: getattr(grpc, f"{shape}_rpc_method_handler")(function)
        for name, function in functions.items()
        for shape in shapes
        if name.startswith(shape)
    }
    return grpc.method_handlers_generic_handler(SERVICE, methods)


def path(name: str) -> str:
    """Return the full method of the function of that name."""
    return f"/{SERVICE}/{name}"


@contextmanager
def serving(
    *services: Any,
    instrument: Callable[[Any], Any] = instrument_grpc_server,
    workers: int = 4,
) -> Iterator[str]:
    """Run a ``grpc.Server``; yield its address."""
    server = instrument(grpc.server(futures.ThreadPoolExecutor(workers)))
    server.add_generic_rpc_handlers(services)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(TIMEOUT_S).wait()


@asynccontextmanager
async def aio_serving(
    *services: Any, instrument: Callable[[Any], Any] = instrument_grpc_server
) -> AsyncIterator[str]:
    """Run a ``grpc.aio.Server``; yield its address."""
    server = instrument(grpc.aio.server())
    server.add_generic_rpc_handlers(services)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(TIMEOUT_S)


def wait_for_spans(spans: SpanRecorder, count: int) -> None:
    """Wait until `count` spans have ended."""
    wait_until(
        lambda: len(spans) >= count,
        TIMEOUT_S,
        message=lambda: f"not {count} spans, but:\n{spans.tree()}",
    )
    assert len(spans) == count, spans.tree()
