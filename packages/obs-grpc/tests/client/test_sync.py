"""Synchronous calls that never become an RPC: the span ends at once, with the exception that the caller gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from obs_core.testing import SpanRecorder
from obs_grpc import instrument_grpc_client
from obs_grpc_servers import path, wait_for_spans
from opentelemetry.trace import SpanKind, StatusCode

CALLS = (
    *(("unary_unary", how) for how in ("__call__", "with_call", "future")),
    *(("stream_unary", how) for how in ("__call__", "with_call", "future")),
    ("unary_stream", "__call__"),
    ("stream_stream", "__call__"),
)


class Refuses(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Raises for every call, as where a token cannot be had."""

    def refuse(self, proceed: Any, details: Any, request: Any) -> Any:
        raise PermissionError("no token")

    intercept_unary_unary = intercept_unary_stream = refuse
    intercept_stream_unary = intercept_stream_stream = refuse


def call(
    channel: Any, shape: str, how: str, **options: Any
) -> tuple[Callable[[], Any], Any]:
    """Make a call; return what waits for its answer, and the call object where there is one."""
    method = getattr(getattr(channel, shape)(path(shape)), how)
    made = method(iter([b"x"]) if shape.startswith("stream") else b"x", **options)
    return (made.result if how == "future" else lambda: list(made)), made


def assert_ended_with(spans: SpanRecorder, error: BaseException) -> None:
    (span,) = spans
    attributes = dict(span.attributes or {})
    assert (span.kind, span.status.status_code) == (SpanKind.CLIENT, StatusCode.ERROR)
    assert span.status.description == str(error)
    assert attributes["error.type"] == type(error).__name__
    assert "rpc.grpc.status_code" not in attributes
    assert [event.name for event in span.events] == ["exception"]


@pytest.mark.promise("RPC-11")
@pytest.mark.parametrize(("shape", "how"), CALLS)
def test_an_interceptor_that_raises(spans: SpanRecorder, shape: str, how: str) -> None:
    """Whichever way the call is made, the interceptor's exception is the span's, as soon as the call is made."""
    plain = grpc.intercept_channel(grpc.insecure_channel("127.0.0.1:1"), Refuses())
    with instrument_grpc_client(plain) as channel:
        if how == "future" or shape.endswith("stream"):
            wait, made = call(channel, shape, how)
            assert len(spans) == 1
            with pytest.raises(PermissionError) as caught:
                wait()
            del made
        else:
            with pytest.raises(PermissionError) as caught:
                call(channel, shape, how)
        assert_ended_with(spans, caught.value)


@pytest.mark.promise("RPC-11")
@pytest.mark.parametrize(("shape", "how"), CALLS)
def test_metadata_that_is_refused(spans: SpanRecorder, shape: str, how: str) -> None:
    """Metadata of a wrong type raises as without us, and ends the span with that exception."""
    with instrument_grpc_client(grpc.insecure_channel("127.0.0.1:1")) as channel:
        with pytest.raises(TypeError) as caught:
            call(channel, shape, how, metadata=(("x-attempt", 7),))
        assert_ended_with(spans, caught.value)


@pytest.mark.promise("RPC-11")
@pytest.mark.parametrize(("shape", "how"), CALLS)
@pytest.mark.parametrize("pair", [("X-Name", "a"), ("x-name", "é")])
def test_metadata_that_is_refused_by_its_content(
    spans: SpanRecorder, shape: str, how: str, pair: tuple[str, str]
) -> None:
    """What gRPC's core refuses ends the span without the server: by its exception, or by its code."""
    with instrument_grpc_client(grpc.insecure_channel("127.0.0.1:1")) as channel:
        with pytest.raises(Exception) as caught:
            call(channel, shape, how, metadata=(pair,))[0]()
        wait_for_spans(spans, 1)
        error: Any = caught.value
        if isinstance(error, grpc.RpcError):
            (span,) = spans
            attributes = dict(span.attributes or {})
            assert attributes["rpc.grpc.status_code"] == error.code().value[0]
            assert span.status.status_code is StatusCode.ERROR
        else:
            assert_ended_with(spans, error)
