"""Synchronous handlers that answer with nothing: both sides' spans tell what the client was told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from obs_core.testing import SpanRecorder
from obs_grpc import instrument_grpc_client
from obs_grpc_servers import SERVICE, path, serving, wait_for_spans
from opentelemetry.trace import StatusCode

Codec = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def quiet_grpc() -> None:
    """Keep grpc's log of messages that it cannot serialize out of the report."""
    logging.getLogger("grpc").setLevel(logging.CRITICAL + 1)


def ask(
    function: Any, shape: str, serializer: Codec | None
) -> tuple[Any, grpc.StatusCode]:
    """Call `function` on a server of its own, both sides traced; return the answer and the code."""
    handler = getattr(grpc, f"{shape}_rpc_method_handler")(
        function, response_serializer=serializer
    )
    service = grpc.method_handlers_generic_handler(SERVICE, {shape: handler})
    with (
        serving(service) as address,
        instrument_grpc_client(grpc.insecure_channel(address)) as channel,
    ):
        method = getattr(channel, shape)(path(shape))
        request = iter([b"x"]) if shape.startswith("stream") else b"x"
        call = method(request) if shape.endswith("stream") else method.future(request)
        try:
            return (
                list(call) if shape.endswith("stream") else call.result()
            ), call.code()
        except grpc.RpcError as error:
            return None, error.code()


def codes(spans: SpanRecorder) -> dict[str, tuple[Any, str]]:
    """Return what both sides' spans say, by kind."""
    wait_for_spans(spans, 2)
    return {
        span.kind.name: (
            (span.attributes or {})["rpc.grpc.status_code"],
            span.status.status_code.name,
        )
        for span in spans
    }


@pytest.mark.promise("RPC-11")
@pytest.mark.parametrize("shape", ["unary_stream", "stream_stream"])
@pytest.mark.parametrize("before", [[], [b"a"]])
@pytest.mark.parametrize("serializer", [None, bytes])
def test_a_stream_that_yields_none(
    spans: SpanRecorder, shape: str, before: list[bytes], serializer: Codec | None
) -> None:
    """None is the end of the stream for grpc, OK; the handler's clean-up runs, what follows does not."""
    closed = []

    def serve(request: Any, context: Any) -> Iterator[Any]:
        try:
            yield from before
            yield None
            raise AssertionError("grpc goes on behind None")
        finally:
            closed.append(True)

    assert ask(serve, shape, serializer) == (before, grpc.StatusCode.OK)
    assert codes(spans) == {"CLIENT": (0, "UNSET"), "SERVER": (0, "UNSET")}
    assert closed == [True]


@pytest.mark.promise("RPC-11")
def test_a_stream_that_yields_none_after_setting_a_code(spans: SpanRecorder) -> None:
    """The code that was set is the one that both sides have."""

    def serve(request: Any, context: Any) -> Iterator[Any]:
        context.set_code(grpc.StatusCode.DATA_LOSS)
        context.set_details("the rest is lost")
        yield None

    assert ask(serve, "unary_stream", None) == (None, grpc.StatusCode.DATA_LOSS)
    assert codes(spans) == {"CLIENT": (15, "ERROR"), "SERVER": (15, "ERROR")}
    assert {span.status.description for span in spans} == {"the rest is lost"}


@pytest.mark.promise("RPC-11")
@pytest.mark.parametrize("shape", ["unary_unary", "stream_unary"])
@pytest.mark.parametrize(
    "serializer", [None, lambda _: None], ids=["bytes", "serializer"]
)
@pytest.mark.parametrize("response", [None, b"x"])
def test_a_response_that_comes_to_nothing(
    spans: SpanRecorder, shape: str, serializer: Codec | None, response: bytes | None
) -> None:
    """What is None in the end is INTERNAL for the client, and so for the server."""
    nothing = serializer is not None or response is None
    answer, code = ask(lambda *_: response, shape, serializer)
    assert (answer, code) == (
        (None, grpc.StatusCode.INTERNAL) if nothing else (b"x", grpc.StatusCode.OK)
    )
    side = (13, StatusCode.ERROR.name) if nothing else (0, StatusCode.UNSET.name)
    assert codes(spans) == {"CLIENT": side, "SERVER": side}


@pytest.mark.promise("RPC-11")
@pytest.mark.parametrize("shape", ["unary_stream", "stream_stream"])
def test_a_message_of_a_stream_that_comes_to_nothing(
    spans: SpanRecorder, shape: str
) -> None:
    """A serializer that returns None in a stream is INTERNAL as well."""

    def serve(request: Any, context: Any) -> Iterator[Any]:
        yield b"a"

    assert ask(serve, shape, lambda _: None) == (None, grpc.StatusCode.INTERNAL)
    assert codes(spans) == {"CLIENT": (13, "ERROR"), "SERVER": (13, "ERROR")}
