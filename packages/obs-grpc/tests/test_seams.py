"""Where grpc has no public way, a private attribute is used; with every one of them missing, RPCs are traced all the same.

The stand-ins are grpc's public abstract classes over real channels and servers, with none of grpc's private attributes.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import grpc.aio
from obs_core.testing import SpanRecorder
from obs_grpc import instrument_grpc_client, instrument_grpc_server
from obs_grpc_servers import (
    TIMEOUT_S,
    aio_serving,
    handlers,
    path,
    serving,
    wait_for_spans,
)
from opentelemetry.trace import SpanKind, StatusCode

PRIVATE = {
    *("_state", "_channel", "_cython_call", "_server", "_loop"),
    *("_call_response", "_preparation", "_interceptors_task"),
}


class Public:
    """Passes what is public on to the object behind, and knows nothing that is private."""

    def __init__(self, behind: Any) -> None:
        self.__dict__["public"] = behind

    def __getattr__(self, name: str) -> Any:
        if name in PRIVATE:
            raise AttributeError(name)
        return getattr(self.public, name)


def passing(base: type[Any], *names: str, **more: Any) -> Any:
    """Return a class of grpc's `base` that passes its abstract methods, `names`, on."""

    def passes(name: str) -> Callable[..., Any]:
        return lambda self, *args, **kwargs: getattr(self.public, name)(*args, **kwargs)

    made = {name: passes(name) for name in names}
    return type(f"Public{base.__name__}", (Public, base), {**made, **more})


ADD = (
    "add_generic_rpc_handlers",
    "add_insecure_port",
    "add_secure_port",
    "start",
    "stop",
    "wait_for_termination",
)
SHAPES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
Server = passing(grpc.Server, *ADD)
AioServer = passing(grpc.aio.Server, *ADD)


def with_public_calls(name: str) -> Callable[..., Any]:
    def make(self: Any, *args: Any, **kwargs: Any) -> Any:
        method = getattr(self.public, name)(*args, **kwargs)
        return lambda *args, **kwargs: Public(method(*args, **kwargs))

    return make


Channel = passing(
    grpc.Channel,
    "subscribe",
    "unsubscribe",
    "close",
    **{name: with_public_calls(name) for name in SHAPES},
)
AioChannel = passing(
    grpc.aio.Channel,
    *(
        "__aenter__",
        "__aexit__",
        "close",
        "get_state",
        "wait_for_state_change",
        "channel_ready",
    ),
    **{name: with_public_calls(name) for name in SHAPES},
)


def echo(request: bytes, context: Any) -> bytes:
    return request


async def aio_echo(request: bytes, context: Any) -> bytes:
    return request


def endless(request: bytes, context: Any) -> Iterator[bytes]:
    while context.is_active():
        yield request


def test_a_server_without_its_interceptor_pipeline(spans: SpanRecorder) -> None:
    """Not ``server._state.interceptor_pipeline``: handlers that are added from then on are traced."""
    plain = grpc.server(futures.ThreadPoolExecutor(2))
    server = instrument_grpc_server(Server(plain))
    server.add_generic_rpc_handlers([handlers(unary_unary=echo)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert channel.unary_unary(path("unary_unary"))(b"x") == b"x"
    server.stop(None).wait()
    wait_for_spans(spans, 1)
    assert spans.finished[0].kind is SpanKind.SERVER


def test_an_aio_server_whose_handlers_cannot_be_found(spans: SpanRecorder) -> None:
    """Not ``gc.get_referents(server._server)``: those it has go on untraced, those that are added from then on are traced."""

    async def main() -> None:
        plain = grpc.aio.server()
        plain.add_generic_rpc_handlers([handlers(unary_unary=aio_echo)])
        server = instrument_grpc_server(AioServer(plain))
        later = grpc.unary_unary_rpc_method_handler(aio_echo)
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("test.Later", {"unary_unary": later})]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for method in (path("unary_unary"), "/test.Later/unary_unary"):
                assert await channel.unary_unary(method)(b"x") == b"x"
        await server.stop(None)

    asyncio.run(main())
    wait_for_spans(spans, 1)
    assert spans.finished[0].name == "test.Later/unary_unary"


def test_a_call_that_hides_its_state(spans: SpanRecorder) -> None:
    """Not ``call._state``: the code of a call that ends comes from the call, a dropped one is CANCELLED; no address."""
    with serving(
        handlers(unary_unary=echo, unary_stream=endless),
        instrument=lambda server: server,
    ) as address:
        plain = grpc.insecure_channel(address)
        with instrument_grpc_client(Channel(plain)) as channel:
            call = channel.unary_stream(path("unary_stream"))(b"x", timeout=0.2)
            assert sum(1 for _ in iterate(call)) > 0
            wait_for_spans(spans, 1)
            call = channel.unary_stream(path("unary_stream"))(b"x", timeout=TIMEOUT_S)
            assert next(call.public) == b"x"
            del call
            gc.collect()
            wait_for_spans(spans, 2)
    codes = [(span.attributes or {})["rpc.grpc.status_code"] for span in spans]
    assert codes == [
        grpc.StatusCode.DEADLINE_EXCEEDED.value[0],
        grpc.StatusCode.CANCELLED.value[0],
    ]
    assert all(span.status.status_code is StatusCode.ERROR for span in spans)
    assert "server.address" not in (spans.finished[0].attributes or {})


def iterate(call: Any) -> Iterator[bytes]:
    try:
        yield from call.public
    except grpc.RpcError:
        return


def test_an_aio_call_that_hides_its_core(spans: SpanRecorder) -> None:
    """Not ``call._cython_call``: the call's own callback ends the span, with the call's code."""

    async def main() -> None:
        async with (
            aio_serving(
                handlers(unary_unary=aio_echo), instrument=lambda server: server
            ) as address,
            instrument_grpc_client(
                AioChannel(grpc.aio.insecure_channel(address))
            ) as channel,
        ):
            assert await channel.unary_unary(path("unary_unary"))(b"x").public == b"x"
            call = channel.unary_unary(path("unary_unary_missing"))(b"x")
            assert await call.code() is grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(main())
    wait_for_spans(spans, 2)
    codes = [(span.attributes or {})["rpc.grpc.status_code"] for span in spans]
    assert codes == [
        grpc.StatusCode.OK.value[0],
        grpc.StatusCode.UNIMPLEMENTED.value[0],
    ]
