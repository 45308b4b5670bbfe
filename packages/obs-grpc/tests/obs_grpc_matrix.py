"""Every shape of RPC ended in every way, on real servers; run as a script it prints what both sides' spans say.

``python packages/obs-grpc/tests/obs_grpc_matrix.py`` (with ``--bare`` it prints the codes without any spans, as grpc has them).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from dataclasses import dataclass
from itertools import product
from typing import Any

import grpc
import grpc.aio
import obs_grpc_echo_pb2 as pb2
import obs_grpc_echo_pb2_grpc as pb2_grpc
from obs_grpc import instrument_grpc_client, instrument_grpc_server
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

SHAPES = ("UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream")
ENDS = ("ok", "raise", "abort", "deadline", "cancel", "break")
FLAVOURS = ("sync", "aio")
TIMEOUT_S = 60.0


class Spans(SpanProcessor):
    """Counts the spans that start, keeps those that end, and waits for them."""

    def __init__(self) -> None:
        self.started = 0
        self.ended: list[ReadableSpan] = []
        self._changed = threading.Condition()

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        with self._changed:
            self.started += 1

    def on_end(self, span: ReadableSpan) -> None:
        with self._changed:
            self.ended.append(span)
            self._changed.notify_all()

    def wait_for(self, count: int, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until `count` spans have ended, or fail."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.ended) >= count, timeout_s):
                raise AssertionError(
                    f"{self.started} spans started, {len(self.ended)} ended, {count} are expected"
                )

    def of(self, kind: str) -> ReadableSpan:
        """Return the one span of `kind`."""
        (span,) = (span for span in self.ended if span.kind.name == kind)
        return span


def traced() -> tuple[TracerProvider, Spans]:
    """Return a provider of its own, and what it records."""
    provider, spans = TracerProvider(), Spans()
    provider.add_span_processor(spans)
    return provider, spans


@dataclass
class Result:
    """How one RPC ended, in its spans and for its caller."""

    spans: Spans
    code: grpc.StatusCode

    def side(self, kind: str) -> tuple[str, int]:
        """The status and the code on the span of `kind`."""
        span = self.spans.of(kind)
        return span.status.status_code.name, (span.attributes or {})[
            "rpc.grpc.status_code"
        ]


class Echo(pb2_grpc.EchoServicer):
    """Does as the first request says."""

    def __init__(self) -> None:
        self.running = threading.Event()

    def UnaryUnary(self, request: Any, context: Any) -> Any:
        self._end(request.text, context)
        return request

    def UnaryStream(self, request: Any, context: Any) -> Iterator[Any]:
        yield request
        if request.text == "break":
            while context.is_active():
                yield request
        self._end(request.text, context)
        yield request

    def StreamUnary(self, requests: Any, context: Any) -> Any:
        first, *_ = requests
        self._end(first.text, context)
        return first

    def StreamStream(self, requests: Any, context: Any) -> Iterator[Any]:
        first, *_ = requests
        yield from self.UnaryStream(first, context)

    def _end(self, text: str, context: Any) -> None:
        self.running.set()
        if text == "raise":
            raise ValueError("boom")
        if text == "abort":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        if text != "ok":
            patience = time.monotonic() + TIMEOUT_S
            while context.is_active() and time.monotonic() < patience:
                time.sleep(0.002)


class AioEcho(pb2_grpc.EchoServicer):
    """The same on the event loop."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.left = asyncio.Event()

    async def UnaryUnary(self, request: Any, context: Any) -> Any:
        await self._end(request.text, context)
        return request

    async def UnaryStream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield request
        try:
            while request.text == "break":
                await asyncio.sleep(0.002)
                yield request
        finally:
            self.left.set()
        await self._end(request.text, context)
        yield request

    async def StreamUnary(self, requests: Any, context: Any) -> Any:
        # all of them: grpc.aio makes an RPC INTERNAL that ends while its client is still writing
        first, *_ = [request async for request in requests]
        await self._end(first.text, context)
        return first

    async def StreamStream(self, requests: Any, context: Any) -> None:
        first = await context.read()
        while await context.read() is not grpc.aio.EOF:
            pass
        await context.write(first)
        try:
            while first.text == "break":
                await asyncio.sleep(0.002)
                await context.write(first)
        finally:
            self.left.set()
        await self._end(first.text, context)
        await context.write(first)

    async def _end(self, text: str, context: Any) -> None:
        self.running.set()
        if text == "raise":
            raise ValueError("boom")
        if text == "abort":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        if text != "ok":
            await asyncio.sleep(TIMEOUT_S)


def run(flavour: str, shape: str, end: str, *, bare: bool = False) -> Result:
    """Make one RPC on a server of its own, wait for both spans, and return them."""
    provider, spans = traced()
    instrument: tuple[Callable[..., Any], Callable[..., Any]] = (
        lambda server: (
            server if bare else instrument_grpc_server(server, tracer_provider=provider)
        ),
        lambda channel: (
            channel
            if bare
            else instrument_grpc_client(channel, tracer_provider=provider)
        ),
    )
    code = (
        run_sync(shape, end, *instrument)
        if flavour == "sync"
        else asyncio.run(run_aio(shape, end, *instrument))
    )
    if not bare:
        spans.wait_for(2)
    return Result(spans, code)


def run_sync(
    shape: str, end: str, on_server: Callable[..., Any], on_channel: Callable[..., Any]
) -> grpc.StatusCode:
    server = on_server(grpc.server(futures.ThreadPoolExecutor(2)))
    echo = Echo()
    pb2_grpc.add_EchoServicer_to_server(echo, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with on_channel(grpc.insecure_channel(f"127.0.0.1:{port}")) as channel:
            return call_sync(
                getattr(pb2_grpc.EchoStub(channel), shape), shape, end, echo
            )
    finally:
        server.stop(TIMEOUT_S).wait()


def call_sync(method: Any, shape: str, end: str, echo: Echo) -> grpc.StatusCode:
    request = pb2.Message(text=end)
    argument = iter([request, request]) if shape.startswith("Stream") else request
    timeout = 0.2 if end == "deadline" else TIMEOUT_S
    call = (
        method(argument, timeout=timeout)
        if shape.endswith("Stream")
        else method.future(argument, timeout=timeout)
    )
    if end in ("cancel", "break"):
        if shape.endswith("Stream"):
            next(call)
        if end == "break" and shape.endswith("Unary"):
            assert echo.running.wait(TIMEOUT_S)
        if end == "break":
            return grpc.StatusCode.CANCELLED  # dropped, and with it the RPC
        assert echo.running.wait(TIMEOUT_S)
        call.cancel()
    with contextlib.suppress(grpc.RpcError, grpc.FutureCancelledError):
        if shape.endswith("Stream"):
            list(call)
        else:
            call.result()
    return call.code()


async def run_aio(
    shape: str, end: str, on_server: Callable[..., Any], on_channel: Callable[..., Any]
) -> grpc.StatusCode:
    server = on_server(grpc.aio.server())
    echo = AioEcho()
    pb2_grpc.add_EchoServicer_to_server(echo, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with on_channel(
            grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        ) as channel:
            return await asyncio.wait_for(
                call_aio(getattr(pb2_grpc.EchoStub(channel), shape), shape, end, echo),
                TIMEOUT_S,
            )
    finally:
        await server.stop(TIMEOUT_S)


async def call_aio(method: Any, shape: str, end: str, echo: AioEcho) -> grpc.StatusCode:
    request = pb2.Message(text=end)
    argument = iter([request, request]) if shape.startswith("Stream") else request
    call = method(argument, timeout=0.2 if end == "deadline" else TIMEOUT_S)
    if end == "break" and shape.endswith("Stream"):
        async for _ in call:
            break
        del call
        # grpc.aio's calls are in cycles: collecting them ends the RPC; newer versions hold them until the channel is closed
        for _ in range(5):
            gc.collect()
            if echo.left.is_set():
                break
            await asyncio.sleep(0.02)
        return grpc.StatusCode.CANCELLED
    if end in ("cancel", "break"):
        if shape.endswith("Stream"):
            await call.read()
        await echo.running.wait()
        if end == "break":
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(call, 0.05)  # whoever waits goes away
        call.cancel()
    with contextlib.suppress(grpc.RpcError, asyncio.CancelledError):
        if shape.endswith("Unary"):
            await call
        else:
            while await call.read() is not grpc.aio.EOF:
                pass
    return await call.code()


def main(bare: bool) -> None:
    """Print the table."""
    logging.disable(logging.CRITICAL)  # grpc logs each of the crashes
    print(f"{'':5} {'shape':13} {'end':9} {'client':26} {'server':26} started ended")
    for flavour, shape, end in product(FLAVOURS, SHAPES, ENDS):
        result = run(flavour, shape, end, bare=bare)
        sides = (
            [("", result.code.value[0])] * 2
            if bare
            else [result.side("CLIENT"), result.side("SERVER")]
        )
        client, server = (f"{status:6}{code:2} {NAMES[code]}" for status, code in sides)
        counts = f"{result.spans.started:7} {len(result.spans.ended):5}"
        print(f"{flavour:5} {shape:13} {end:9} {client:26} {server:26} {counts}")


NAMES = {code.value[0]: code.name for code in grpc.StatusCode}

if __name__ == "__main__":
    import sys

    main("--bare" in sys.argv)
