"""Servers: what the handler sees, and what its span says in the end."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from typing import Any

import grpc
import grpc.aio
import pytest
from obs_core.testing import SpanRecorder, wait_until
from obs_grpc import instrument_grpc_client, instrument_grpc_server
from obs_grpc_servers import (
    SERVICE,
    TIMEOUT_S,
    aio_serving,
    handlers,
    path,
    serving,
    wait_for_spans,
)
from opentelemetry import baggage, trace
from opentelemetry.trace import SpanKind, StatusCode

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def quiet_grpc() -> None:
    """Keep grpc's log of crashed handlers out of the report."""
    logging.getLogger("grpc").setLevel(logging.CRITICAL + 1)


def ask(
    address: str, name: str, request: bytes = b"x", **options: Any
) -> tuple[Any, grpc.StatusCode]:
    """Call a method of an untraced client; return what came back, and the code."""
    with grpc.insecure_channel(address) as channel:
        shape = "_".join(name.split("_")[:2])
        method = getattr(channel, shape)(path(name))
        argument = iter([request, request]) if shape.startswith("stream") else request
        call = (
            method(argument, **options)
            if shape.endswith("stream")
            else method.future(argument, **options)
        )
        try:
            return (
                list(call) if shape.endswith("stream") else call.result()
            ), call.code()
        except grpc.RpcError as error:
            return None, error.code()


@pytest.mark.promise("RPC-03", "RPC-08")
def test_uncaught_exception_sync(spans: SpanRecorder) -> None:
    """Status ERROR with the message, code UNKNOWN, the exception recorded once with its stack, and the caller's parent."""

    def crash(request: bytes, context: Any) -> bytes:
        raise LookupError("no such row")

    with serving(handlers(unary_unary=crash)) as address:
        assert (
            ask(address, "unary_unary", metadata=(("traceparent", TRACEPARENT),))[1]
            is grpc.StatusCode.UNKNOWN
        )
    wait_for_spans(spans, 1)
    (span,) = spans
    assert (span.name, span.kind) == (f"{SERVICE}/unary_unary", SpanKind.SERVER)
    assert (span.status.status_code, span.status.description) == (
        StatusCode.ERROR,
        "no such row",
    )
    attributes = dict(span.attributes)
    assert attributes.pop("client.port") > 0
    assert attributes == {
        "rpc.system": "grpc",
        "rpc.service": SERVICE,
        "rpc.method": "unary_unary",
        "rpc.grpc.status_code": 2,
        "client.address": "127.0.0.1",
        "error.type": "LookupError",
    }
    (event,) = span.events
    assert (event.name, event.attributes["exception.type"]) == (
        "exception",
        "LookupError",
    )
    assert "in crash" in event.attributes["exception.stacktrace"]
    assert f"{span.context.trace_id:032x}" == TRACEPARENT.split("-")[1]
    assert f"{span.parent.span_id:016x}" == TRACEPARENT.split("-")[2]
    assert span.parent.is_remote
    assert not span.links


@pytest.mark.promise("RPC-03", "RPC-08")
@pytest.mark.parametrize("code", list(grpc.StatusCode)[1:])
@pytest.mark.parametrize("how", ["abort", "abort_with_status", "set_code"])
def test_codes_set_on_purpose_sync(
    spans: SpanRecorder, how: str, code: grpc.StatusCode
) -> None:
    """The code is told; ERROR only for those that the specification lists for servers; no exception is recorded."""

    class Status(grpc.Status):
        def __init__(self) -> None:
            self.code, self.details, self.trailing_metadata = (
                code,
                "told",
                (("t", "1"),),
            )

    def handler(request: bytes, context: Any) -> bytes:
        if how == "abort":
            context.abort(code, "told")
        elif how == "abort_with_status":
            context.abort_with_status(Status())
        context.set_code(code)
        context.set_details("told")
        return b""

    with serving(handlers(unary_unary=handler)) as address:
        assert ask(address, "unary_unary")[1] is code
    wait_for_spans(spans, 1)
    (span,) = spans
    listed = code.name in (
        "UNKNOWN",
        "DEADLINE_EXCEEDED",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
    )
    assert span.attributes["rpc.grpc.status_code"] == code.value[0]
    assert span.status.status_code is (StatusCode.ERROR if listed else StatusCode.UNSET)
    assert span.status.description == ("told" if listed else None)
    assert span.attributes.get("error.type") == (code.name if listed else None)
    assert not span.events


@pytest.mark.promise("RPC-03")
@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.DATA_LOSS])
def test_exception_after_set_code(spans: SpanRecorder, code: grpc.StatusCode) -> None:
    """A handler that sets a code and raises sends that code: it decides on the status; the exception is recorded."""

    def handler(request: bytes, context: Any) -> bytes:
        context.set_code(code)
        raise KeyError("k")

    with serving(handlers(unary_unary=handler)) as address:
        assert ask(address, "unary_unary")[1] is code
    wait_for_spans(spans, 1)
    (span,) = spans
    assert span.attributes["rpc.grpc.status_code"] == code.value[0]
    assert span.status.status_code is (
        StatusCode.ERROR if code is grpc.StatusCode.DATA_LOSS else StatusCode.UNSET
    )
    assert [event.name for event in span.events] == ["exception"]


@pytest.mark.promise("RPC-03")
def test_codes_aio(spans: SpanRecorder) -> None:
    """On grpc.aio: abort, set_code, a crash after set_code, and plain functions in the thread pool."""

    async def unary_unary_abort(request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.INTERNAL, "told")

    async def unary_unary_set(request: bytes, context: Any) -> bytes:
        context.set_code(grpc.StatusCode.ALREADY_EXISTS)
        return request

    async def unary_unary_crash(request: bytes, context: Any) -> bytes:
        context.set_code(grpc.StatusCode.INTERNAL)
        raise ValueError("boom")

    def unary_unary_thread(request: bytes, context: Any) -> bytes:
        context.set_code(grpc.StatusCode.OUT_OF_RANGE)
        return request

    def unary_unary_threadabort(request: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode.UNAVAILABLE, "told")
        return request

    def unary_stream_thread(request: bytes, context: Any) -> Iterator[bytes]:
        assert trace.get_current_span().get_span_context().is_valid
        yield request
        raise ValueError("boom")

    async def main() -> None:
        async with aio_serving(handlers(**functions)) as address:
            for name in functions:
                code = (await asyncio.to_thread(ask, address, name))[1]
                codes[name] = code.value[0]

    functions = {
        key: value for key, value in locals().items() if key.startswith("unary_")
    }
    codes: dict[str, int] = {}
    asyncio.run(main())
    wait_for_spans(spans, 6)
    found = {
        span.attributes["rpc.method"]: (
            span.attributes["rpc.grpc.status_code"],
            span.status.status_code.name,
            len(span.events),
        )
        for span in spans
    }
    assert found == {
        "unary_unary_abort": (13, "ERROR", 0),
        "unary_unary_set": (6, "UNSET", 0),
        "unary_unary_crash": (13, "ERROR", 1),
        "unary_unary_thread": (11, "UNSET", 0),
        "unary_unary_threadabort": (14, "ERROR", 0),
        "unary_stream_thread": (2, "ERROR", 1),
    }
    assert codes == {name: code for name, (code, _, _) in found.items()}


@pytest.mark.promise("RPC-03")
def test_handler_that_outlives_both_cancellation_and_deadline(
    spans: SpanRecorder,
) -> None:
    """What came first ended the RPC: the cancellation, though the deadline too has passed when the handler returns."""

    def unary_unary(request: bytes, context: Any) -> bytes:
        running.set()
        wait_until(lambda: context.time_remaining() == 0, TIMEOUT_S)
        return request

    running = threading.Event()
    with (
        serving(handlers(unary_unary=unary_unary)) as address,
        grpc.insecure_channel(address) as channel,
    ):
        future = channel.unary_unary(path("unary_unary")).future(b"x", timeout=1)
        assert running.wait(TIMEOUT_S)
        future.cancel()
    wait_for_spans(spans, 1)
    (span,) = spans
    assert (span.attributes["rpc.grpc.status_code"], span.status.status_code) == (
        1,
        StatusCode.UNSET,
    )


@pytest.mark.promise("RPC-03")
def test_crash_after_the_response_started(spans: SpanRecorder) -> None:
    """The responses that were sent arrive, and the crash after them is told."""

    def unary_stream(request: bytes, context: Any) -> Iterator[bytes]:
        yield request
        yield request
        raise ValueError("boom")

    with (
        serving(handlers(unary_stream=unary_stream)) as address,
        grpc.insecure_channel(address) as channel,
    ):
        call = channel.unary_stream(path("unary_stream"))(b"x")
        assert [next(call), next(call)] == [b"x", b"x"]
        with pytest.raises(grpc.RpcError):
            next(call)
    wait_for_spans(spans, 1)
    (span,) = spans
    assert (
        span.attributes["rpc.grpc.status_code"],
        span.attributes["rpc.response.message_count"],
    ) == (2, 2)
    assert span.status.status_code is StatusCode.ERROR
    assert len(span.events) == 1


@pytest.mark.promise("RPC-03")
@pytest.mark.parametrize("shape", ["unary_unary", "unary_stream"])
@pytest.mark.parametrize("flavour", ["sync", "aio"])
def test_response_that_cannot_be_serialized(
    spans: SpanRecorder, flavour: str, shape: str
) -> None:
    """The handler is through, the RPC fails all the same: the span has the code that the client has."""

    def serialize(message: object) -> bytes:
        raise TypeError("no bytes")

    def unary_unary(request: bytes, context: Any) -> object:
        return object()

    def unary_stream(request: bytes, context: Any) -> Iterator[object]:
        yield object()

    async def aio_unary_unary(request: bytes, context: Any) -> object:
        return object()

    async def aio_unary_stream(request: bytes, context: Any) -> AsyncIterator[object]:
        yield object()

    function = locals()[f"aio_{shape}" if flavour == "aio" else shape]
    method = getattr(grpc, f"{shape}_rpc_method_handler")(
        function, response_serializer=serialize
    )
    service = grpc.method_handlers_generic_handler(SERVICE, {shape: method})

    async def main() -> grpc.StatusCode:
        async with aio_serving(service) as address:
            return (await asyncio.to_thread(ask, address, shape))[1]

    if flavour == "aio":
        code = asyncio.run(main())
    else:
        with serving(service) as address:
            code = ask(address, shape)[1]
    wait_for_spans(spans, 1)
    (span,) = spans
    assert span.attributes["rpc.grpc.status_code"] == code.value[0]
    assert span.status.status_code is StatusCode.ERROR
    assert [event.attributes["exception.type"] for event in span.events] == [
        "TypeError"
    ]


@pytest.mark.promise("RPC-05")
def test_aio_handlers_of_every_kind(spans: SpanRecorder) -> None:  # noqa: C901 - seven handlers
    """Async for, context.read, context.write, generators: all work, under the span, with context variables of their own."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar(
        "variable", default=0
    )

    def here() -> bytes:
        variable.set(variable.get() + 1)
        span = trace.get_current_span().get_span_context()
        return f"{span.span_id:x}:{variable.get()}".encode()

    async def unary_unary(request: bytes, context: Any) -> bytes:
        return here()

    async def unary_stream_generator(
        request: bytes, context: Any
    ) -> AsyncIterator[bytes]:
        yield here()
        await asyncio.sleep(0)
        yield here()

    async def unary_stream_write(request: bytes, context: Any) -> None:
        await context.write(here())
        await context.write(here())

    async def stream_unary_for(requests: Any, context: Any) -> bytes:
        async for _ in requests:
            last = here()
        return last

    async def stream_unary_read(requests: Any, context: Any) -> bytes:
        while await context.read() is not grpc.aio.EOF:
            last = here()
        return last

    async def stream_stream_generator(
        requests: Any, context: Any
    ) -> AsyncIterator[bytes]:
        async for _ in requests:
            yield here()

    async def stream_stream_readwrite(requests: Any, context: Any) -> None:
        while await context.read() is not grpc.aio.EOF:
            await context.write(here())

    functions = {
        key: value
        for key, value in locals().items()
        if key.startswith(("unary_", "stream_"))
    }
    answers: dict[str, Any] = {}

    async def main() -> None:
        async with aio_serving(handlers(**functions)) as address:
            for name in functions:
                answers[name] = await asyncio.to_thread(ask, address, name)

    asyncio.run(main())
    wait_for_spans(spans, 7)
    ids = {span.attributes["rpc.method"]: f"{span.context.span_id:x}" for span in spans}
    for name, (answer, code) in answers.items():
        assert code is grpc.StatusCode.OK
        if name.split("_")[1] == "stream":
            assert answer == [f"{ids[name]}:{n}".encode() for n in (1, 2)]
        else:
            assert (
                answer
                == f"{ids[name]}:{2 if name.startswith('stream') else 1}".encode()
            )


@pytest.mark.promise("RPC-05")
def test_aio_span_is_not_current_between_items(spans: SpanRecorder) -> None:
    """While grpc sends an async generator's item, nothing of ours is current: a serializer sees no span."""
    seen: list[bool] = []

    def serialize(message: bytes) -> bytes:
        seen.append(trace.get_current_span().get_span_context().is_valid)
        return message

    async def generator(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield request
        assert trace.get_current_span().get_span_context().is_valid
        yield request

    method = grpc.unary_stream_rpc_method_handler(
        generator, response_serializer=serialize
    )

    async def main() -> None:
        async with aio_serving(
            grpc.method_handlers_generic_handler(SERVICE, {"unary_stream": method})
        ) as address:
            assert (await asyncio.to_thread(ask, address, "unary_stream"))[
                1
            ] is grpc.StatusCode.OK

    asyncio.run(main())
    assert seen == [False, False]


@pytest.mark.promise("RPC-04")
def test_handler_has_grpcs_own_context(spans: SpanRecorder) -> None:
    """The handler gets the very context that grpc makes; what contrib's wrapper fails at works."""

    def unary_stream(request: bytes, context: Any) -> Iterator[bytes]:
        kinds.append(type(context).__module__)
        context.set_compression(grpc.Compression.Gzip)
        context.disable_next_message_compression()
        assert context.is_active()
        context.add_callback(done.set)
        yield request

    kinds: list[str] = []
    done = threading.Event()
    with serving(handlers(unary_stream=unary_stream)) as address:
        assert ask(address, "unary_stream")[0] == [b"x"]
        assert done.wait(TIMEOUT_S)
    assert kinds == ["grpc._server"]


@pytest.mark.promise("RPC-09")
@pytest.mark.parametrize("events", [False, True])
def test_message_counts(spans: SpanRecorder, events: bool) -> None:
    """Streams are counted on both sides; an event for each message only when asked for."""

    def stream_stream(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for request in requests:
            yield from (request, request, request)

    def unary_unary(request: bytes, context: Any) -> bytes:
        return request

    def server(server: grpc.Server) -> grpc.Server:
        return instrument_grpc_server(server, include_message_events=events)

    with (
        serving(
            handlers(stream_stream=stream_stream, unary_unary=unary_unary),
            instrument=server,
        ) as address,
        instrument_grpc_client(
            grpc.insecure_channel(address), include_message_events=events
        ) as channel,
    ):
        assert (
            len(list(channel.stream_stream(path("stream_stream"))(iter([b"a", b"b"]))))
            == 6
        )
        assert channel.unary_unary(path("unary_unary"))(b"x") == b"x"
    wait_for_spans(spans, 4)
    for span in spans:
        stream = span.attributes["rpc.method"] == "stream_stream"
        assert span.attributes.get("rpc.request.message_count") == (
            2 if stream else None
        )
        assert span.attributes.get("rpc.response.message_count") == (
            6 if stream else None
        )
        told = [
            (event.attributes["rpc.message.type"], event.attributes["rpc.message.id"])
            for event in span.events
        ]
        requests, responses = (
            ("SENT", "RECEIVED")
            if span.kind is SpanKind.CLIENT
            else ("RECEIVED", "SENT")
        )
        expected = {(requests, n + 1) for n in range(2 if stream else 1)} | {
            (responses, n + 1) for n in range(6 if stream else 1)
        }
        assert set(told) == (expected if events else set())


def test_baggage_arrives(spans: SpanRecorder) -> None:
    """The caller's baggage is current in the handler, and its correlation id on the span."""

    def unary_unary(request: bytes, context: Any) -> bytes:
        return str(baggage.get_baggage("correlation_id")).encode()

    with serving(handlers(unary_unary=unary_unary)) as address:
        assert (
            ask(address, "unary_unary", metadata=(("baggage", "correlation_id=c-1"),))[
                0
            ]
            == b"c-1"
        )
    wait_for_spans(spans, 1)
    assert spans.finished[0].attributes["correlation_id"] == "c-1"


def test_rpcs_are_not_children_of_whoever_started_the_server(
    spans: SpanRecorder,
) -> None:
    """The context of start-up is inherited by a server's tasks, and is no RPC's parent."""

    async def unary_unary(request: bytes, context: Any) -> bytes:
        return request

    async def main() -> None:
        with trace.get_tracer("test").start_as_current_span("start-up"):
            async with aio_serving(handlers(unary_unary=unary_unary)) as address:
                await asyncio.to_thread(ask, address, "unary_unary")

    asyncio.run(main())
    wait_for_spans(spans, 2)
    assert [span.parent for span in spans] == [None, None]


def test_span_processors_that_raise_cost_the_span_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No exception of a span processor reaches caller or handler."""
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    class Broken(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            raise ZeroDivisionError

    provider = TracerProvider()
    provider.add_span_processor(Broken())

    def unary_unary(request: bytes, context: Any) -> bytes:
        return request

    def server(server: grpc.Server) -> grpc.Server:
        return instrument_grpc_server(server, tracer_provider=provider)

    with serving(handlers(unary_unary=unary_unary), instrument=server) as address:  # noqa: SIM117
        with instrument_grpc_client(
            grpc.insecure_channel(address), tracer_provider=provider
        ) as channel:
            assert channel.unary_unary(path("unary_unary"))(b"x") == b"x"
    assert "starting a gRPC span failed" in caplog.text


@pytest.mark.promise("RPC-02", "RPC-03")
@pytest.mark.parametrize("flavour", ["sync", "aio"])
def test_client_that_is_killed(spans: SpanRecorder, flavour: str) -> None:
    """A client process that vanishes in the middle of a stream: the span ends as cancelled."""
    client = """
import sys, grpc
call = grpc.insecure_channel(sys.argv[1]).stream_stream("/test.Generic/stream_stream")(iter([b"x"]))
next(call)
print("started", flush=True)
for _ in call:
    pass
"""

    def stream_stream(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for request in requests:
            while True:
                yield request

    async def aio_stream_stream(requests: Any, context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            while True:
                yield request
                await asyncio.sleep(0)

    def kill(address: str) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", client, address], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        process.send_signal(signal.SIGKILL)
        process.stdout.close()
        process.wait(TIMEOUT_S)
        wait_until(lambda: len(spans) == 1, TIMEOUT_S)

    async def main() -> None:
        async with aio_serving(handlers(stream_stream=aio_stream_stream)) as address:
            await asyncio.to_thread(kill, address)

    if flavour == "aio":
        asyncio.run(main())
    else:
        with serving(handlers(stream_stream=stream_stream)) as address:
            kill(address)
    (span,) = spans
    assert span.attributes["rpc.grpc.status_code"] == 1
    assert span.status.status_code is StatusCode.UNSET
    assert not span.events


def test_thread_pool_of_a_handler_is_kept(spans: SpanRecorder) -> None:
    """The experimental attribute for a handler's own thread pool goes on having an effect."""
    pool = futures.ThreadPoolExecutor(1, thread_name_prefix="of-its-own")

    def unary_unary(request: bytes, context: Any) -> bytes:
        return threading.current_thread().name.encode()

    unary_unary.experimental_thread_pool = pool  # type: ignore[attr-defined]
    with serving(handlers(unary_unary=unary_unary)) as address:
        assert ask(address, "unary_unary")[0].startswith(b"of-its-own")
    pool.shutdown()
    wait_for_spans(spans, 1)
