"""Hooks of clients: what they are given, for every shape, sync and aio, by every way in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from obs_core.exceptions import ConfigurationError
from obs_core.testing import SpanRecorder
from obs_grpc import instrument_grpc_client
from obs_grpc_servers import TIMEOUT_S, handlers, path, serving, wait_for_spans
from opentelemetry.trace import Span, SpanKind, get_current_span

pytestmark = pytest.mark.promise("RPC-13")


def echo(request: bytes, context: Any) -> bytes:
    if request == b"bad":
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
    return request + b"!"


def join(requests: Any, context: Any) -> bytes:
    return b"".join(requests)


def repeat(request: bytes, context: Any) -> Any:
    yield request
    yield request


def relay(requests: Any, context: Any) -> Any:
    yield from requests


SERVICE = handlers(
    unary_unary=echo, stream_unary=join, unary_stream=repeat, stream_stream=relay
)


class Seen:
    """Two hooks, and what they have seen."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.requests: list[Any] = []
        self.responses: list[Any] = []
        self.hooks: dict[str, Any] = {"on_start": self.on_start, "on_end": self.on_end}

    def on_start(self, span: Span, request: Any) -> None:
        assert span.is_recording()
        self.requests.append(request)
        span.set_attribute("shop.request", repr(request))
        if self.fails:
            raise ValueError("a hook")

    def on_end(self, span: Span, response: Any) -> None:
        self.responses.append(response)
        span.set_attribute("shop.response", repr(response))
        if self.fails:
            raise ValueError("a hook")


def one_channel(make: Callable[[], Any], hooks: dict[str, Any]) -> Any:
    return instrument_grpc_client(make(), **hooks)


def every_channel(make: Callable[[], Any], hooks: dict[str, Any]) -> Any:
    instrument_grpc_client(**hooks)
    return make()


WAYS = pytest.mark.parametrize("way", [one_channel, every_channel])


def sync_call(channel: Any, shape: str) -> Any:
    call = getattr(channel, shape)(path(shape))
    requests, responses = shape.split("_")
    result = call(
        iter([b"a", b"b"]) if requests == "stream" else b"a", timeout=TIMEOUT_S
    )
    return list(result) if responses == "stream" else result


async def aio_call(channel: Any, shape: str) -> Any:
    call = getattr(channel, shape)(path(shape))
    requests, responses = shape.split("_")
    result = call(
        iter([b"a", b"b"]) if requests == "stream" else b"a", timeout=TIMEOUT_S
    )
    return [each async for each in result] if responses == "stream" else await result


#: shape: what the call returns, and what the hooks are given
SHAPES: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "unary_unary": (b"a!", [b"a"], [b"a!"]),
    "stream_unary": (b"ab", [None], [b"ab"]),
    "unary_stream": ([b"a", b"a"], [b"a"], []),
    "stream_stream": ([b"a", b"b"], [None], []),
}


def client_span(spans: SpanRecorder) -> Any:
    (found,) = [span for span in spans.finished if span.kind is SpanKind.CLIENT]
    return found


@WAYS
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fails", [False, True], ids=["", "hooks raise"])
def test_sync(way: Any, shape: str, fails: bool, spans: SpanRecorder) -> None:
    """One message in a direction is handed over, a stream is not touched; a hook that raises changes nothing."""
    seen = Seen(fails)
    returned, requests, responses = SHAPES[shape]
    with (
        serving(SERVICE) as address,
        way(lambda: grpc.insecure_channel(address), seen.hooks) as channel,
    ):
        assert sync_call(channel, shape) == returned
        wait_for_spans(spans, 2)
    assert (seen.requests, seen.responses) == (requests, responses)
    assert client_span(spans).attributes["shop.request"] == repr(requests[0])
    if responses:
        assert client_span(spans).attributes["shop.response"] == repr(responses[0])


@WAYS
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fails", [False, True], ids=["", "hooks raise"])
def test_aio(way: Any, shape: str, fails: bool, spans: SpanRecorder) -> None:
    """The same; the span waits for the response to be read."""
    seen = Seen(fails)
    returned, requests, responses = SHAPES[shape]

    async def main(address: str) -> None:
        async with way(
            lambda: grpc.aio.insecure_channel(address), seen.hooks
        ) as channel:
            assert await aio_call(channel, shape) == returned

    with serving(SERVICE) as address:
        asyncio.run(main(address))
        wait_for_spans(spans, 2)
    assert (seen.requests, seen.responses) == (requests, responses)
    if responses:
        assert client_span(spans).attributes["shop.response"] == repr(responses[0])


@pytest.mark.parametrize("name", ["with_call", "future"])
def test_other_ways_to_call(name: str, spans: SpanRecorder) -> None:
    """With grpc's call beside the response, and as a future."""
    seen = Seen()
    with serving(SERVICE) as address:
        channel = instrument_grpc_client(grpc.insecure_channel(address), **seen.hooks)
        with channel:
            call = getattr(channel.unary_unary(path("unary_unary")), name)
            result = call(request=b"a", timeout=TIMEOUT_S)
            response = result[0] if name == "with_call" else result.result(TIMEOUT_S)
            assert response == b"a!"
            wait_for_spans(spans, 2)
    assert (seen.requests, seen.responses) == ([b"a"], [b"a!"])
    assert client_span(spans).attributes["shop.response"] == repr(b"a!")


@pytest.mark.parametrize("is_aio", [False, True], ids=["sync", "aio"])
def test_a_failed_rpc_has_no_response(is_aio: bool, spans: SpanRecorder) -> None:
    """Its end is the status of the span."""
    seen = Seen()

    async def main(address: str) -> None:
        plain = grpc.aio.insecure_channel(address)
        async with instrument_grpc_client(plain, **seen.hooks) as channel:
            with pytest.raises(grpc.RpcError):
                await channel.unary_unary(path("unary_unary"))(b"bad")

    with serving(SERVICE) as address:
        if is_aio:
            asyncio.run(main(address))
        else:
            plain = grpc.insecure_channel(address)
            with (
                instrument_grpc_client(plain, **seen.hooks) as channel,
                pytest.raises(grpc.RpcError),
            ):
                channel.unary_unary(path("unary_unary"))(b"bad")
        wait_for_spans(spans, 2)
    assert (seen.requests, seen.responses) == ([b"bad"], [])
    assert client_span(spans).attributes["rpc.grpc.status_code"] == 5


def test_a_call_that_is_never_awaited_ends(spans: SpanRecorder) -> None:
    """An aio call that nobody waits for is cancelled with its channel, hook or not."""
    seen = Seen()

    async def main(address: str) -> None:
        plain = grpc.aio.insecure_channel(address)
        async with instrument_grpc_client(plain, **seen.hooks) as channel:
            channel.unary_unary(path("unary_unary"))(b"a")

    with serving(SERVICE) as address:
        asyncio.run(main(address))
    assert client_span(spans).end_time is not None


@pytest.mark.parametrize("option", ["on_start", "on_end"])
def test_what_cannot_be_called_is_an_error_at_set_up(option: str) -> None:
    """A coroutine function too: nothing awaits it."""

    async def hook(*_: Any) -> None: ...

    for wrong in ("hook", hook):
        with pytest.raises(ConfigurationError, match=option):
            instrument_grpc_client(**{option: wrong})


def test_the_span_is_current_in_the_hook(spans: SpanRecorder) -> None:
    """As in contrib's."""
    current: list[Any] = []
    with serving(SERVICE) as address:
        channel = instrument_grpc_client(
            grpc.insecure_channel(address),
            on_start=lambda span, _: current.append(get_current_span() is span),
        )
        with channel:
            channel.unary_unary(path("unary_unary"))(b"a")
    assert current == [True]
