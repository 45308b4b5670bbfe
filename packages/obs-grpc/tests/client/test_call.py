"""Channels: RPCs behave as they do without us, and carry the trace context."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from obs_core.testing import SpanRecorder, wait_until
from obs_grpc import instrument_grpc_client
from obs_grpc_servers import (
    TIMEOUT_S,
    aio_serving,
    handlers,
    path,
    serving,
    wait_for_spans,
)
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.trace import StatusCode

METADATA = (
    ("key", "1"),
    ("blob-bin", b"\x00\xff\x80"),
    ("key", "2"),
    ("key", "1"),
    ("other", " padded "),
)


class Service:
    """Keeps the metadata it is sent, and answers."""

    def __init__(self) -> None:
        self.metadata: list[tuple[str, Any]] = []
        self.called = threading.Event()
        self.go_on = threading.Event()

    def handlers(self) -> Any:
        return handlers(
            unary_unary=self.unary_unary,
            unary_stream=self.unary_stream,
            stream_unary=self.stream_unary,
            stream_stream=self.stream_stream,
            unary_unary_slow=self.unary_unary_slow,
        )

    def unary_unary(self, request: bytes, context: Any) -> bytes:
        self._note(context)
        context.send_initial_metadata((("first", "i"),))
        context.set_trailing_metadata((("last", "t"),))
        return request

    def unary_stream(self, request: bytes, context: Any) -> Iterator[bytes]:
        self._note(context)
        yield request
        self.go_on.wait(TIMEOUT_S)
        yield request

    def stream_unary(self, requests: Iterator[bytes], context: Any) -> bytes:
        self._note(context)
        return b"".join(requests)

    def stream_stream(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        self._note(context)
        for request in requests:
            yield request + request

    def unary_unary_slow(self, request: bytes, context: Any) -> bytes:
        self._note(context)
        self.go_on.wait(TIMEOUT_S)
        return request

    def _note(self, context: Any) -> None:
        self.metadata += [
            (key, value)
            for key, value in context.invocation_metadata()
            if key != "user-agent"
        ]
        self.called.set()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    """A server that is not instrumented."""
    with serving(service.handlers(), instrument=lambda server: server) as address:
        yield address
        service.go_on.set()


@pytest.fixture
def channel(address: str) -> Iterator[grpc.Channel]:
    with instrument_grpc_client(grpc.insecure_channel(address)) as channel:
        yield channel


def begin(channel: grpc.Channel, make: str) -> Any:
    """Call a method without waiting."""
    method = getattr(channel, make)(path(make))
    argument = iter([b"x"]) if make.startswith("stream") else b"x"
    return method(argument) if make.endswith("stream") else method.future(argument)


@pytest.mark.promise("RPC-04")
def test_calls_are_those_of_grpc(
    channel: grpc.Channel, address: str, service: Service, spans: SpanRecorder
) -> None:
    """What calling returns is of the very type that grpc returns without us."""
    service.go_on.set()
    with grpc.insecure_channel(address) as plain:
        for make in ("unary_unary", "stream_unary", "unary_stream", "stream_stream"):
            calls = [begin(each, make) for each in (channel, plain)]
            assert type(calls[0]) is type(calls[1])


@pytest.mark.promise("RPC-04")
def test_whole_interface_sync(
    channel: grpc.Channel, service: Service, spans: SpanRecorder
) -> None:
    """Blocking call, with_call, future and streams: code, details, metadata, callbacks, iteration, cancellation."""
    unary = channel.unary_unary(path("unary_unary"))
    assert unary(b"x", TIMEOUT_S, METADATA) == b"x"
    response, call = unary.with_call(b"y", timeout=TIMEOUT_S)
    assert (response, call.code(), call.details()) == (b"y", grpc.StatusCode.OK, "")
    assert dict(call.trailing_metadata()) == {"last": "t"}
    done = threading.Event()
    future = unary.future(b"z")
    future.add_done_callback(lambda _: done.set())
    assert future.result(TIMEOUT_S) == b"z"
    assert dict(future.initial_metadata())["first"] == "i"
    assert done.wait(TIMEOUT_S)
    assert not future.cancel()

    stream = channel.unary_stream(path("unary_stream"))(b"x")
    assert next(stream) == b"x"
    assert stream.is_active()
    assert stream.time_remaining() is None
    assert stream.cancel()
    assert stream.cancelled()
    assert stream.code() is grpc.StatusCode.CANCELLED
    both = channel.stream_stream(path("stream_stream"))(iter([b"a", b"b"]))
    assert list(both) == [b"aa", b"bb"]
    assert channel.stream_unary(path("stream_unary"))(iter([b"a", b"b"])) == b"ab"
    wait_for_spans(spans, 6)


@pytest.mark.promise("RPC-04")
def test_whole_interface_aio(spans: SpanRecorder) -> None:
    """The same with grpc.aio: await, read and write, async for, code, metadata, callbacks, cancellation, remaining time."""

    async def unary_unary(request: bytes, context: Any) -> bytes:
        await context.send_initial_metadata((("first", "i"),))
        context.set_trailing_metadata((("last", "t"),))
        return request

    async def stream_stream(requests: Any, context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request + request

    async def main() -> None:
        services = handlers(unary_unary=unary_unary, stream_stream=stream_stream)
        async with aio_serving(services, instrument=lambda server: server) as address:  # noqa: SIM117
            async with instrument_grpc_client(
                grpc.aio.insecure_channel(address)
            ) as channel:
                await channel.channel_ready()
                assert channel.get_state() is grpc.ChannelConnectivity.READY
                call = channel.unary_unary(path("unary_unary"))(b"x", timeout=TIMEOUT_S)
                done = asyncio.Event()
                call.add_done_callback(lambda _: done.set())
                assert (
                    call.time_remaining() > 0
                )  # raises NotImplementedError on channels with interceptors
                assert isinstance(call, grpc.aio.UnaryUnaryCall)
                assert await call == b"x"
                assert (await call.code(), await call.details()) == (
                    grpc.StatusCode.OK,
                    "",
                )
                assert (await call.initial_metadata())["first"] == "i"
                assert (await call.trailing_metadata())["last"] == "t"
                await done.wait()
                talk = channel.stream_stream(path("stream_stream"))()
                await talk.write(b"a")
                assert await talk.read() == b"aa"
                await talk.done_writing()
                assert await talk.read() is grpc.aio.EOF
                assert [
                    m
                    async for m in channel.stream_stream(path("stream_stream"))(
                        iter([b"b"])
                    )
                ] == [b"bb"]
                waiting = channel.stream_stream(path("stream_stream"))()
                assert waiting.cancel()
                assert await waiting.code() is grpc.StatusCode.CANCELLED
                assert waiting.cancelled()

    asyncio.run(asyncio.wait_for(main(), TIMEOUT_S))
    wait_for_spans(spans, 4)
    assert [span.attributes["rpc.grpc.status_code"] for span in spans] == [0, 0, 0, 1]


@pytest.mark.promise("RPC-04")
@pytest.mark.parametrize(
    "make", ["unary_stream", "stream_stream", "unary_unary", "stream_unary"]
)
def test_rpcs_start_when_called(
    channel: grpc.Channel, service: Service, spans: SpanRecorder, make: str
) -> None:
    """An RPC whose result nobody asks for reaches the server all the same."""
    call = begin(channel, make)
    assert service.called.wait(TIMEOUT_S)
    assert call.cancel() or call.done()


@pytest.mark.promise("RPC-04")
def test_span_is_not_current_between_items(
    channel: grpc.Channel, service: Service, spans: SpanRecorder
) -> None:
    """What the caller does between two responses is no part of the RPC; what its request iterator does is its own."""
    service.go_on.set()
    with trace.get_tracer("test").start_as_current_span("outer") as outer:
        for _ in channel.unary_stream(path("unary_stream"))(b"x"):
            assert trace.get_current_span() is outer
        channel.unary_unary(path("unary_unary")).future(b"x").result()
        assert trace.get_current_span() is outer
    assert trace.get_current_span() is trace.INVALID_SPAN
    wait_for_spans(spans, 3)


@pytest.mark.promise("RPC-03", "RPC-04")
def test_dropped_stream_is_cancelled_at_once(
    channel: grpc.Channel, service: Service, spans: SpanRecorder
) -> None:
    """We hold no reference that would keep an abandoned RPC running: without the cyclic garbage collector its span ends."""
    gc.disable()
    try:
        for _ in channel.unary_stream(path("unary_stream"))(b"x"):
            break
        wait_for_spans(spans, 1)
    finally:
        gc.enable()
    (span,) = spans
    assert (span.attributes["rpc.grpc.status_code"], span.status.status_code) == (
        1,
        StatusCode.ERROR,
    )


@pytest.mark.promise("RPC-03")
@pytest.mark.parametrize("how", ["__call__", "with_call", "future"])
def test_unreachable_server(spans: SpanRecorder, how: str) -> None:
    """A server that is not there: UNAVAILABLE, and the exception that grpc raises."""
    with instrument_grpc_client(grpc.insecure_channel("127.0.0.1:1")) as channel:
        method = getattr(channel.unary_unary("/a.B/C"), how)
        with pytest.raises(grpc.RpcError) as caught:
            method(b"x").result() if how == "future" else method(b"x")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    wait_for_spans(spans, 1)
    (span,) = spans
    assert span.attributes == {
        "rpc.system": "grpc",
        "rpc.service": "a.B",
        "rpc.method": "C",
        "server.address": "127.0.0.1",
        "server.port": 1,
        "rpc.grpc.status_code": 14,
        "error.type": "UNAVAILABLE",
    }
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == caught.value.details()
    assert not span.events


@pytest.mark.promise("RPC-03")
def test_call_that_cannot_be_made(spans: SpanRecorder) -> None:
    """What never became an RPC ends its span with the exception, which passes."""
    channel = instrument_grpc_client(grpc.insecure_channel("127.0.0.1:1"))
    method = channel.unary_unary("/a.B/C")
    channel.close()
    with pytest.raises(ValueError, match="closed channel"):
        method(b"x")
    (span,) = spans
    assert "rpc.grpc.status_code" not in span.attributes
    assert [event.name for event in span.events] == ["exception"]


@pytest.mark.promise("RPC-06")
@pytest.mark.parametrize(
    "make", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]
)
def test_metadata_passes_untouched_sync(
    channel: grpc.Channel,
    address: str,
    service: Service,
    spans: SpanRecorder,
    make: str,
) -> None:
    """Duplicate and binary metadata arrive as without us, in order; the trace keys come in addition."""
    service.go_on.set()

    def call(channel: grpc.Channel) -> list[tuple[str, Any]]:
        service.metadata.clear()
        argument = iter([b"x"]) if make.startswith("stream") else b"x"
        result = getattr(channel, make)(path(make))(argument, metadata=METADATA)
        if make.endswith("stream"):
            list(result)
        return list(service.metadata)

    traced = call(channel)
    with grpc.insecure_channel(address) as plain:
        assert (
            [pair for pair in traced if pair[0] != "traceparent"]
            == call(plain)
            == list(METADATA)
        )
    assert len([pair for pair in traced if pair[0] == "traceparent"]) == 1


@pytest.mark.promise("RPC-06")
@pytest.mark.parametrize("given", ["tuple", "Metadata"])
def test_metadata_passes_untouched_aio(spans: SpanRecorder, given: str) -> None:
    """The same with grpc.aio, whose metadata may be a multi-map."""

    async def unary_unary(request: bytes, context: Any) -> bytes:
        seen.append(
            [
                pair
                for pair in map(tuple, context.invocation_metadata())
                if pair[0] not in ("user-agent", "traceparent")
            ]
        )
        return request

    async def main() -> None:
        metadata = grpc.aio.Metadata(*METADATA) if given == "Metadata" else METADATA
        async with aio_serving(
            handlers(unary_unary=unary_unary), instrument=lambda server: server
        ) as address:
            for wrap in (lambda channel: channel, instrument_grpc_client):
                async with wrap(grpc.aio.insecure_channel(address)) as channel:
                    await channel.unary_unary(path("unary_unary"))(
                        b"x", metadata=metadata
                    )

    seen: list[Any] = []
    asyncio.run(main())
    assert seen[0] == seen[1]
    assert sorted(seen[1], key=str) == sorted(METADATA, key=str)


@pytest.mark.promise("RPC-06")
def test_trace_keys_of_the_caller_are_replaced(
    channel: grpc.Channel, service: Service, spans: SpanRecorder
) -> None:
    """A caller that injects by itself does not send two different parents."""
    channel.unary_unary(path("unary_unary"))(
        b"x", metadata=(("traceparent", "stale"), ("key", "1"))
    )
    (span,) = spans
    (sent,) = (value for key, value in service.metadata if key == "traceparent")
    assert sent.startswith(
        f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-"
    )
    assert ("key", "1") in service.metadata


@pytest.mark.promise("RPC-06")
@pytest.mark.parametrize("value", ["v" * 8100, "na\u00efve"])
def test_context_that_grpc_would_refuse_is_left_out(
    channel: grpc.Channel,
    service: Service,
    spans: SpanRecorder,
    caplog: pytest.LogCaptureFixture,
    value: str,
) -> None:
    """Baggage that is too large, or a propagator's illegal value, does not fail the user's RPC."""

    class Broken(propagate.textmap.TextMapPropagator):
        fields = frozenset[str]()

        def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
            setter.set(carrier, "Baggage", value)

        def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Any:
            raise ZeroDivisionError

    before = propagate.get_global_textmap()
    propagate.set_global_textmap(Broken())
    try:
        assert (
            channel.unary_unary(path("unary_unary"))(b"x", metadata=(("key", "1"),))
            == b"x"
        )
    finally:
        propagate.set_global_textmap(before)
    assert service.metadata == [("key", "1")]


def test_a_propagator_that_raises_costs_the_context_alone(
    channel: grpc.Channel,
    service: Service,
    spans: SpanRecorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No exception of a propagator's reaches the caller."""

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("obs_grpc._propagation.inject", broken)
    assert channel.unary_unary(path("unary_unary"))(b"x", metadata=METADATA) == b"x"
    assert service.metadata == list(METADATA)
    assert len(spans) == 1


def test_suppression_stops_the_span_not_the_context(
    channel: grpc.Channel, service: Service, spans: SpanRecorder
) -> None:
    """Under suppressed instrumentation no span is made, and the caller's context goes out."""
    with trace.get_tracer("test").start_as_current_span("outer") as outer:
        token = context.attach(context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        channel.unary_unary(path("unary_unary"))(b"x")
        context.detach(token)
    assert [span.name for span in spans] == ["outer"]
    outer_id = outer.get_span_context().span_id
    assert (
        next(value for key, value in service.metadata if key == "traceparent").split(
            "-"
        )[2]
        == f"{outer_id:016x}"
    )


def test_baggage_travels(
    channel: grpc.Channel, service: Service, spans: SpanRecorder
) -> None:
    """Baggage, and with it the correlation id, goes out with every RPC."""
    token = context.attach(baggage.set_baggage("correlation_id", "c-1"))
    channel.unary_unary(path("unary_unary"))(b"x")
    context.detach(token)
    assert ("baggage", "correlation_id=c-1") in service.metadata
    assert spans.finished[0].attributes["correlation_id"] == "c-1"


@pytest.mark.promise("RPC-02")
def test_started_equals_ended_without_the_server_ever_answering(
    channel: grpc.Channel, service: Service, spans: SpanRecorder
) -> None:
    """Closing the channel under a running RPC ends its span."""
    future = channel.unary_unary(path("unary_unary_slow")).future(b"x")
    assert service.called.wait(TIMEOUT_S)
    channel.close()
    wait_until(future.done, TIMEOUT_S)
    wait_for_spans(spans, 1)
    assert spans.finished[0].attributes["rpc.grpc.status_code"] == 1


def test_users_interceptors_run_inside(
    address: str, service: Service, spans: SpanRecorder
) -> None:
    """Interceptors of the channel behind see the span as current; interceptors in front work as on any channel."""

    class Users(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(
            self, continuation: Any, details: Any, request: Any
        ) -> Any:
            seen.append(trace.get_current_span().is_recording())
            return continuation(details, request)

    seen: list[bool] = []
    inside = instrument_grpc_client(
        grpc.intercept_channel(grpc.insecure_channel(address), Users())
    )
    outside = grpc.intercept_channel(
        instrument_grpc_client(grpc.insecure_channel(address)), Users()
    )
    for channel in (inside, outside):
        assert channel.unary_unary(path("unary_unary"))(b"x") == b"x"
        assert channel.unary_unary(path("unary_unary")).future(b"x").result() == b"x"
        channel.close()
    assert seen == [True, True, False, False]
    wait_for_spans(spans, 4)
    assert [span.attributes["rpc.grpc.status_code"] for span in spans] == [0, 0, 0, 0]


def test_what_an_interceptor_makes_of_a_call(
    address: str, service: Service, spans: SpanRecorder
) -> None:
    """An interceptor may return a generator: its span ends with it, without a code."""

    class Users(grpc.UnaryStreamClientInterceptor):
        def intercept_unary_stream(
            self, continuation: Any, details: Any, request: Any
        ) -> Any:
            return (response for response in continuation(details, request))

    service.go_on.set()
    with instrument_grpc_client(
        grpc.intercept_channel(grpc.insecure_channel(address), Users())
    ) as channel:
        assert list(channel.unary_stream(path("unary_stream"))(b"x")) == [b"x", b"x"]
    wait_for_spans(spans, 1)
    assert spans.finished[0].status.status_code is StatusCode.UNSET
    assert spans.finished[0].attributes["rpc.response.message_count"] == 2


@pytest.fixture(autouse=True)
def quiet_grpc() -> None:
    """Keep grpc's log of crashed handlers out of the report."""
    logging.getLogger("grpc").setLevel(logging.CRITICAL + 1)
