"""Asynchronous handlers that are cancelled, or seem to be: both sides' spans tell what the client was told."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
import pytest
from obs_core.testing import SpanRecorder
from obs_grpc import instrument_grpc_client
from obs_grpc_servers import TIMEOUT_S, aio_serving, handlers, path, wait_for_spans

SHAPES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
needs_cancelling = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="Task.cancelling() is new in Python 3.11"
)
Wait = Callable[[Any], Awaitable[None]]


@pytest.fixture(autouse=True)
def quiet_grpc() -> None:
    """Keep grpc's log of crashed handlers out of the report."""
    logging.getLogger("grpc").setLevel(logging.CRITICAL + 1)


class Handlers:
    """A method of each shape and style that reads its requests, runs `wait`, and answers."""

    def __init__(self, wait: Wait) -> None:
        self.wait = wait
        self.running = asyncio.Event()
        self.done = asyncio.Event()

    def of(self, shape: str, style: str) -> Any:
        return handlers(**{shape: getattr(self, style)})

    async def returns(self, request: Any, context: Any) -> bytes:
        await self._run(request, context)
        return b"y"

    async def yields(self, request: Any, context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        await self._run(request, context)
        yield b"y"

    async def writes(self, request: Any, context: Any) -> None:
        await context.write(b"first")
        await self._run(request, context)
        await context.write(b"y")

    async def writes_no_more(self, request: Any, context: Any) -> None:
        await self._run(request, context)

    async def _run(self, request: Any, context: Any) -> None:
        if not isinstance(request, bytes):
            async for _ in request:
                pass
        self.running.set()
        try:
            await self.wait(context)
        finally:
            self.done.set()


STYLES = (
    ("unary_unary", "returns"),
    ("stream_unary", "returns"),
    ("unary_stream", "yields"),
    ("unary_stream", "writes"),
    ("unary_stream", "writes_no_more"),
    ("stream_stream", "yields"),
    ("stream_stream", "writes"),
    ("stream_stream", "writes_no_more"),
)


async def requests() -> AsyncIterator[bytes]:
    yield b"x"


async def swallow(context: Any) -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(TIMEOUT_S)


async def clean_up_and_swallow(context: Any) -> None:
    await swallow(context)
    for _ in range(3):
        await asyncio.sleep(0)


async def set_a_code(context: Any) -> None:
    await swallow(context)
    context.set_code(grpc.StatusCode.NOT_FOUND)


async def raise_another(context: Any) -> None:
    try:
        await asyncio.sleep(TIMEOUT_S)
    except asyncio.CancelledError:
        raise ValueError("made of a cancellation") from None


async def abort(context: Any) -> None:
    await swallow(context)
    await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")


async def pass_on(context: Any) -> None:
    await asyncio.sleep(TIMEOUT_S)


async def give_way(context: Any) -> None:
    """End a child that is cancelled, and a wait that takes too long: none of it is the RPC's end."""
    child = asyncio.ensure_future(asyncio.sleep(TIMEOUT_S))
    asyncio.get_running_loop().call_soon(child.cancel)
    with suppress(asyncio.CancelledError):
        await child
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.sleep(TIMEOUT_S), 0.01)
    if sys.version_info >= (3, 11):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(TIMEOUT_S)


async def end_call(
    spans: SpanRecorder, served: Handlers, shape: str, style: str, how: str
) -> str:
    """Make a call, cancel it (or let it run, or into its deadline), and return the code that the client has."""
    async with aio_serving(served.of(shape, style)) as address:
        plain = grpc.aio.insecure_channel(address)
        async with instrument_grpc_client(plain) as channel:
            method = getattr(channel, shape)(path(shape))
            request = requests() if shape.startswith("stream") else b"x"
            call = method(request, timeout=0.3 if how == "deadline" else TIMEOUT_S)
            await asyncio.wait_for(served.running.wait(), TIMEOUT_S)
            if how == "cancel":
                call.cancel()
            with suppress(grpc.RpcError, asyncio.CancelledError):
                if shape.endswith("unary"):
                    await call
                else:
                    async for _ in call:
                        pass
            code = await call.code()
            await asyncio.wait_for(served.done.wait(), TIMEOUT_S)
            await asyncio.to_thread(wait_for_spans, spans, 2)
    return str(code.name)


def numbers(spans: SpanRecorder) -> dict[str, Any]:
    return {
        span.kind.name: (span.attributes or {})["rpc.grpc.status_code"]
        for span in spans
    }


@pytest.mark.promise("RPC-11")
@needs_cancelling
@pytest.mark.parametrize(("shape", "style"), STYLES)
@pytest.mark.parametrize("how", ["cancel", "deadline"])
@pytest.mark.parametrize(
    "wait", [swallow, clean_up_and_swallow, set_a_code, raise_another, abort, pass_on]
)
def test_a_handler_that_is_cancelled(
    spans: SpanRecorder, wait: Wait, how: str, shape: str, style: str
) -> None:
    """Whatever a handler makes of its cancellation, both sides say that the RPC was cancelled, or too late."""
    code = asyncio.run(end_call(spans, Handlers(wait), shape, style, how))
    expected = {"cancel": "CANCELLED", "deadline": "DEADLINE_EXCEEDED"}[how]
    number = grpc.StatusCode[expected].value[0]
    assert code == expected
    assert numbers(spans) == {"CLIENT": number, "SERVER": number}


@pytest.mark.promise("RPC-11")
@needs_cancelling
@pytest.mark.parametrize("shape", ["unary_unary", "unary_stream"])
@pytest.mark.parametrize("ends", ["swallows", "passes on"])
def test_a_cancelled_handler_that_outlives_its_deadline(
    spans: SpanRecorder, shape: str, ends: str
) -> None:
    """It was cancelled when that came, though its deadline is over when it has cleaned up."""

    async def linger(context: Any) -> None:
        try:
            await asyncio.sleep(TIMEOUT_S)
        except asyncio.CancelledError:
            while context.time_remaining() > 0:
                await asyncio.sleep(0.01)
            if ends == "passes on":
                raise

    async def main() -> None:
        served = Handlers(linger)
        style = "returns" if shape.endswith("unary") else "writes"
        async with aio_serving(served.of(shape, style)) as address:
            plain = grpc.aio.insecure_channel(address)
            async with instrument_grpc_client(plain) as channel:
                call = getattr(channel, shape)(path(shape))(b"x", timeout=1.0)
                await asyncio.wait_for(served.running.wait(), TIMEOUT_S)
                call.cancel()
                await asyncio.wait_for(served.done.wait(), TIMEOUT_S)
                await asyncio.to_thread(wait_for_spans, spans, 2)

    asyncio.run(main())
    assert numbers(spans) == {"CLIENT": 1, "SERVER": 1}


@pytest.mark.promise("RPC-11")
@pytest.mark.parametrize(("shape", "style"), STYLES)
def test_cancellations_of_the_handlers_own(
    spans: SpanRecorder, shape: str, style: str
) -> None:
    """A child that was cancelled and a timeout inside the handler end no RPC."""
    assert asyncio.run(end_call(spans, Handlers(give_way), shape, style, "ok")) == "OK"
    assert numbers(spans) == {"CLIENT": 0, "SERVER": 0}


@pytest.mark.promise("RPC-11")
@needs_cancelling
def test_an_exception_in_place_of_a_cancellation_is_recorded(
    spans: SpanRecorder,
) -> None:
    """The span is no error, for the server did not fail; what its handler raised is an event."""
    asyncio.run(
        end_call(spans, Handlers(raise_another), "unary_unary", "returns", "cancel")
    )
    (server,) = (span for span in spans if span.kind.name == "SERVER")
    assert server.status.is_unset
    assert [event.name for event in server.events] == ["exception"]
