"""Four processes, one trace: FastAPI → httpx → FastAPI → gRPC (unary and stream) → aio gRPC; run as a script it prints it.

    python packages/obs-grpc/tests/obs_grpc_chain.py

Needs obs-http and FastAPI beside obs-grpc. Each process exports on its own, to one OTLP receiver.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from obs_core import TracingConfig, get_correlation_id, setup_tracing
from obs_core.testing import OtlpSink, SinkSpan, render_tree

CORRELATION_ID, USER = "c-show-3", "u-7"
#: Role → the role that it calls; they are started from the last to the first.
ROLES = {"front": "back", "back": "sync", "sync": "aio", "aio": ""}
SPANS = 11


def front(callee: str, config: Any) -> None:
    """FastAPI, at the edge: knows the user, asks the next one through httpx."""
    import httpx
    from fastapi import FastAPI
    from obs_http import instrument_httpx

    instrument_httpx()
    app = FastAPI()
    middleware, options = config
    app.add_middleware(
        middleware,
        **options,
        identify=lambda headers: headers.get("x-user"),
        identity_in_baggage=True,
    )

    @app.get("/orders/{order_id}")
    async def order(order_id: int) -> dict[str, Any]:
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.get(f"http://{callee}/stock/{order_id}")
        inner = answer.headers["X-Correlation-ID"]
        return {
            "front": get_correlation_id(),
            "back": {"header": inner, **answer.json()},
        }

    serve_http(app)


def back(callee: str, config: Any) -> None:
    """FastAPI, further in: makes a unary call and reads a stream, through an aio channel."""
    import grpc.aio
    import obs_grpc_echo_pb2 as pb2
    import obs_grpc_echo_pb2_grpc as pb2_grpc
    from fastapi import FastAPI
    from obs_grpc import instrument_grpc_client

    instrument_grpc_client()
    app = FastAPI()
    middleware, options = config
    app.add_middleware(middleware, **options, identity_from_baggage=True)

    @app.get("/stock/{item_id}")
    async def stock(item_id: int) -> dict[str, Any]:
        async with grpc.aio.insecure_channel(callee) as channel:
            stub = pb2_grpc.EchoStub(channel)
            one = await stub.UnaryUnary(pb2.Message(text="one"), timeout=30)
            many = [
                message.text
                async for message in stub.UnaryStream(
                    pb2.Message(text="many"), timeout=30
                )
            ]
        return {"back": get_correlation_id(), "unary": one.text, "stream": many}

    serve_http(app)


def serve_http(app: Any) -> None:
    import uvicorn

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


def sync(callee: str, config: Any) -> None:
    """A ``grpc.Server`` that asks the next one for each of its answers, through a sync channel."""
    import grpc
    import obs_grpc_echo_pb2_grpc as pb2_grpc
    from obs_grpc import instrument_grpc_client, instrument_grpc_server

    channel = instrument_grpc_client(grpc.insecure_channel(callee))
    stub = pb2_grpc.EchoStub(channel)

    class Echo(pb2_grpc.EchoServicer):
        def UnaryUnary(self, request: Any, context: Any) -> Any:
            return told("sync", stub.UnaryUnary(request, timeout=30))

        def UnaryStream(self, request: Any, context: Any) -> Iterator[Any]:
            for message in stub.UnaryStream(request, timeout=30):
                yield told("sync", message)

    server = instrument_grpc_server(
        grpc.server(futures.ThreadPoolExecutor(4)), identity_from_baggage=True
    )
    pb2_grpc.add_EchoServicer_to_server(Echo(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(5))
    print(port, flush=True)
    server.wait_for_termination()
    channel.close()


def aio(callee: str, config: Any) -> None:
    """A ``grpc.aio.Server``, the last."""
    import grpc.aio
    import obs_grpc_echo_pb2_grpc as pb2_grpc
    from obs_grpc import instrument_grpc_server

    class Echo(pb2_grpc.EchoServicer):
        async def UnaryUnary(self, request: Any, context: Any) -> Any:
            return told("aio", request)

        async def UnaryStream(self, request: Any, context: Any) -> AsyncIterator[Any]:
            for _ in range(2):
                yield told("aio", request)

    async def main() -> None:
        instrument_grpc_server(identity_from_baggage=True)
        server, stop = grpc.aio.server(), asyncio.Event()
        pb2_grpc.add_EchoServicer_to_server(Echo(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        print(port, flush=True)
        await stop.wait()
        await server.stop(5)

    asyncio.run(main())


def told(role: str, message: Any) -> Any:
    """Return `message` with the correlation id that `role` knows."""
    return type(message)(text=f"{message.text} {role}={get_correlation_id()}")


def run(role: str, callee: str, collector_url: str) -> None:
    """Be one of the processes, until SIGTERM."""
    manager, config = setup_tracing(
        TracingConfig(
            service_name=role, collector_url=collector_url, collector_protocol="http"
        )
    )
    {"front": front, "back": back, "sync": sync, "aio": aio}[role](callee, config)
    manager.shutdown()


def chain() -> tuple[dict[str, Any], list[SinkSpan]]:
    """Start the four, ask the first, stop them; return its answer, headers included, and all spans."""
    import httpx

    with OtlpSink() as sink:
        with ExitStack() as stack:
            callee = ""
            for role in reversed(ROLES):
                callee = f"127.0.0.1:{stack.enter_context(Process(role, callee, sink.url)).port}"
            headers = {"X-Correlation-ID": CORRELATION_ID, "X-User": USER}
            answer = httpx.get(f"http://{callee}/orders/7", headers=headers, timeout=60)
        spans = sink.wait_for(lambda spans: len(own(spans)) >= SPANS)
    return {
        "status": answer.status_code,
        "header": answer.headers["X-Correlation-ID"],
        **answer.json(),
    }, spans


class Process:
    """One role in a process of its own; leaving the context stops it, which exports its spans."""

    def __init__(self, role: str, callee: str, collector_url: str) -> None:
        command = [sys.executable, __file__, role, callee, collector_url]
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("OTEL_")
        }
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> Process:
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()


def own(spans: list[SinkSpan]) -> list[SinkSpan]:
    """Return `spans` without those that FastAPI (0.142 and later) makes of its own steps."""
    by_id = {span.span_id: span for span in spans}

    def parent(span: SinkSpan) -> int:
        above = by_id.get(span.parent_id)
        return (
            parent(above)
            if above is not None and above.name.startswith("fastapi.")
            else span.parent_id
        )

    return [
        replace(span, parent_id=parent(span))
        for span in spans
        if not span.name.startswith("fastapi.")
    ]


def tree(spans: list[SinkSpan], *attributes: str) -> str:
    """Return the trace, each span with its service and `attributes`."""
    served = [
        replace(span, attributes={**span.attributes, "service": span.service})
        for span in own(spans)
    ]
    return render_tree(served, attributes=["service", *attributes])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(*sys.argv[1:])
    else:
        told_back, collected = chain()
        print(
            tree(collected, "correlation_id", "user.id"),
            told_back,
            f"traces: {len({span.trace_id for span in collected})}",
            sep="\n\n",
        )
