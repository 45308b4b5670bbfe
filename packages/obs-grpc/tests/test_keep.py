"""A server tells its client, in the trailing metadata, that an unsampled request is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from obs_core import Keep, keep_trace
from obs_core.testing import SpanRecorder, record_spans, wait_until
from obs_grpc import instrument_grpc_client
from obs_grpc_servers import TIMEOUT_S, aio_serving, handlers, path, serving
from opentelemetry import trace
from opentelemetry.trace import StatusCode

pytestmark = pytest.mark.promise("CORE-91")
tracer = trace.get_tracer("test")


@pytest.fixture
def spans() -> Iterator[SpanRecorder]:
    """Nothing is sampled."""
    with record_spans(sampling_rate=0.0, keep=Keep(slower_than_s=30)) as recorder:
        yield recorder


def work(request: bytes, context: Any) -> None:
    """Do what is asked for, and answer well."""
    context.set_trailing_metadata((("user", "own"),))
    if request == b"hidden":
        with tracer.start_as_current_span("inside") as span:
            span.set_status(StatusCode.ERROR)
    if request == b"asked":
        keep_trace()
    if request == b"refused":
        context.set_code(grpc.StatusCode.INTERNAL)


def unary_unary(request: bytes, context: Any) -> bytes:
    work(request, context)
    return request


def unary_stream(request: bytes, context: Any) -> Iterator[bytes]:
    yield request
    work(request, context)


async def unary_unary_aio(request: bytes, context: Any) -> bytes:
    work(request, context)
    return request


async def unary_stream_aio(request: bytes, context: Any) -> AsyncIterator[bytes]:
    yield request
    work(request, context)


SYNC = handlers(unary_unary=unary_unary, unary_stream=unary_stream)
AIO = handlers(
    unary_unary=unary_unary_aio,
    unary_stream=unary_stream_aio,
    unary_unary_thread=unary_unary,
    unary_stream_thread=unary_stream,
)
Ask = Callable[[Any, bytes], Any]


def plain(channel: Any, request: bytes) -> Any:
    return channel.unary_unary(path("unary_unary"))(request)


def with_call(channel: Any, request: bytes) -> Any:
    response, call = channel.unary_unary(path("unary_unary")).with_call(request)
    assert ("user", "own") in [tuple(pair) for pair in call.trailing_metadata()]
    return response


def future(channel: Any, request: bytes) -> Any:
    return channel.unary_unary(path("unary_unary")).future(request).result()


def stream(channel: Any, request: bytes) -> Any:
    (response,) = channel.unary_stream(path("unary_stream"))(request)
    return response


each_way = pytest.mark.parametrize(
    "ask", [plain, with_call, future, stream], ids=lambda ask: ask.__name__
)
each_reason = pytest.mark.parametrize(
    ("request_", "reason"), [(b"hidden", "error"), (b"asked", "asked")]
)


def whole(spans: SpanRecorder, reason: str) -> bool:
    """Whether client and server have kept their parts of the trace."""
    kinds = {span.kind.name for span in spans}
    reasons = {(span.attributes or {}).get("obs.kept") for span in spans}
    trace_ids = {span.context.trace_id for span in spans}
    found = (kinds, reasons, len(trace_ids))
    return found == ({"INTERNAL", "CLIENT", "SERVER"}, {reason}, 1)


@each_way
@each_reason
def test_a_client_is_told(
    spans: SpanRecorder, ask: Ask, request_: bytes, reason: str
) -> None:
    """Although the answer is well; the handler's own trailing metadata stays."""
    with serving(SYNC) as address, grpc.insecure_channel(address) as plain_channel:
        channel = instrument_grpc_client(plain_channel)
        with tracer.start_as_current_span("caller"):
            assert ask(channel, request_) == request_
            wait_until(lambda: len(spans) > 0, TIMEOUT_S)
        wait_until(lambda: whole(spans, reason), TIMEOUT_S)


@each_way
def test_a_well_request_leaves_nothing(spans: SpanRecorder, ask: Ask) -> None:
    """At either end."""
    with serving(SYNC) as address, grpc.insecure_channel(address) as plain_channel:
        channel = instrument_grpc_client(plain_channel)
        with tracer.start_as_current_span("caller"):
            ask(channel, b"well")
    assert spans.finished == []


@pytest.mark.parametrize("thread", ["", "_thread"], ids=["coroutine", "thread"])
@pytest.mark.parametrize("shape", ["unary_unary", "unary_stream"])
@each_reason
def test_a_client_of_an_aio_server_is_told(
    spans: SpanRecorder, shape: str, thread: str, request_: bytes, reason: str
) -> None:
    """Of coroutines, generators, and functions in threads."""

    async def main() -> None:
        async with (
            aio_serving(AIO) as address,
            grpc.aio.insecure_channel(address) as plain_channel,
        ):
            channel: Any = instrument_grpc_client(plain_channel)
            with tracer.start_as_current_span("caller"):
                call = getattr(channel, shape)(path(shape + thread))(request_)
                if shape == "unary_unary":
                    assert await call == request_
                else:
                    assert [response async for response in call] == [request_]
                trailers = [tuple(pair) for pair in await call.trailing_metadata()]
                assert ("user", "own") in trailers

    asyncio.run(main())
    wait_until(lambda: whole(spans, reason), TIMEOUT_S)


def test_an_error_tells_by_itself(spans: SpanRecorder) -> None:
    """The status is an error at both ends, each of which decides by itself."""
    with serving(SYNC) as address, grpc.insecure_channel(address) as plain_channel:
        channel = instrument_grpc_client(plain_channel)
        with (
            tracer.start_as_current_span("caller"),
            pytest.raises(grpc.RpcError, match="INTERNAL"),
        ):
            plain(channel, b"refused")
        wait_until(lambda: whole(spans, "error"), TIMEOUT_S)


def test_the_server_is_told(spans: SpanRecorder) -> None:
    """By the tracestate, from the decision on."""
    with serving(SYNC) as address, grpc.insecure_channel(address) as plain_channel:
        channel = instrument_grpc_client(plain_channel)
        with tracer.start_as_current_span("caller"):
            plain(channel, b"well")
            keep_trace()
            plain(channel, b"well")
        wait_until(lambda: whole(spans, "asked"), TIMEOUT_S)
    assert [span.kind.name for span in spans].count("SERVER") == 1


def test_a_client_without_a_trace_is_told_nothing(spans: SpanRecorder) -> None:
    """It has no use for it."""
    with serving(SYNC) as address, grpc.insecure_channel(address) as channel:
        _, call = channel.unary_unary(path("unary_unary")).with_call(b"asked")
    assert [tuple(pair) for pair in call.trailing_metadata()] == [("user", "own")]
