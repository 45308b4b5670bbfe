"""Asynchronous calls that grpc.aio refuses: the span ends at once, with the exception that the caller gets, in silence."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from obs_core.testing import SpanRecorder
from obs_grpc import instrument_grpc_client
from obs_grpc_servers import TIMEOUT_S, aio_serving, handlers, path
from opentelemetry.trace import SpanKind, StatusCode

SHAPES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
REFUSED = {
    "number": ("x-attempt", 7),
    "non-ascii": ("x-name", "é"),
    "upper case": ("X-Name", "a"),
}
GRPC = tuple(int(part) for part in grpc.__version__.split(".")[:2])
REQUEST_ID = (("x-request", "1"),)


class _Interceptor:
    """Continues, or raises where it is told to; it exists for each of the four shapes."""

    def __init__(self, error: Exception | None, wraps: bool) -> None:
        self.error = error
        self.wraps = wraps

    async def intercept(self, proceed: Any, details: Any, request: Any) -> Any:
        if self.error is not None:
            raise self.error
        call = await proceed(details, request)
        return self.responses(call) if self.wraps else call

    async def responses(self, call: Any) -> AsyncIterator[Any]:
        async for response in call:
            yield response


def interceptors(error: Exception | None = None, *, wraps: bool = False) -> list[Any]:
    """Return an interceptor for each shape; with `wraps`, those of response streams return a generator."""
    made = []
    for shape in SHAPES:
        base = getattr(grpc.aio, f"{shape.title().replace('_', '')}ClientInterceptor")
        body = {f"intercept_{shape}": _Interceptor.intercept}
        kind = type("Interceptor", (_Interceptor, base), body)
        made.append(kind(error, wraps and shape.endswith("stream")))
    return made


WAYS: dict[str, list[Any]] = {
    "bare": [],
    "intercepted": interceptors(),
    "wrapped": interceptors(wraps=True),
}


async def requests() -> AsyncIterator[bytes]:
    yield b"x"


async def call(channel: Any, shape: str, **options: Any) -> Any:
    """Make a call as an application does, and read its answer."""
    method = getattr(channel, shape)(path(shape))
    made = method(requests() if shape.startswith("stream") else b"x", **options)
    return (
        await made if shape.endswith("unary") else [response async for response in made]
    )


async def refused(
    channel: Any, spans: SpanRecorder, shape: str, **options: Any
) -> tuple[BaseException, int]:
    """Return what a call raises, and how many spans have ended by then."""
    with pytest.raises(Exception) as caught:
        await asyncio.wait_for(call(channel, shape, **options), TIMEOUT_S)
    await asyncio.sleep(0)
    return caught.value, len(spans)


@pytest.mark.promise("RPC-11")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("given", REFUSED)
def test_metadata_that_is_refused(
    spans: SpanRecorder, way: str, shape: str, given: str
) -> None:
    """Whatever grpc raises ends the span at once: as it is, or by its code where it has one."""
    if GRPC < (1, 82) and given != "number" and shape != "unary_unary":
        pytest.skip("this grpc lets the caller wait for ever")

    async def main() -> tuple[BaseException, int]:
        plain = grpc.aio.insecure_channel("127.0.0.1:1", interceptors=WAYS[way])
        async with instrument_grpc_client(plain) as channel:
            return await refused(channel, spans, shape, metadata=(REFUSED[given],))

    error, ended = asyncio.run(main())
    assert ended == 1
    (span,) = spans
    attributes = dict(span.attributes or {})
    assert (span.kind, span.status.status_code) == (SpanKind.CLIENT, StatusCode.ERROR)
    if isinstance(error, grpc.aio.AioRpcError):
        assert attributes["rpc.grpc.status_code"] == error.code().value[0]
        assert attributes["error.type"] == error.code().name
    else:
        assert "rpc.grpc.status_code" not in attributes
        assert attributes["error.type"].endswith(type(error).__name__)
        assert [event.name for event in span.events] == ["exception"]
    gc.collect()
    assert len(spans) == 1


@pytest.mark.promise("RPC-11")
# in older versions grpc's own InterceptedCall.__del__ raises
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("shape", SHAPES)
def test_an_interceptor_that_raises(
    spans: SpanRecorder, shape: str, recwarn: pytest.WarningsRecorder
) -> None:
    """Its exception passes and is the span's, and no coroutine is left that nobody awaited."""

    async def main() -> tuple[BaseException, int]:
        users = interceptors(PermissionError("no token"))
        plain = grpc.aio.insecure_channel("127.0.0.1:1", interceptors=users)
        async with instrument_grpc_client(plain) as channel:
            return await refused(channel, spans, shape)

    error, ended = asyncio.run(main())
    gc.collect()
    assert (type(error), ended) == (PermissionError, 1)
    (span,) = spans
    assert (span.status.status_code, span.status.description) == (
        StatusCode.ERROR,
        "no token",
    )
    assert (span.attributes or {})["error.type"] == "PermissionError"
    assert "rpc.grpc.status_code" not in (span.attributes or {})
    assert [event.name for event in span.events] == ["exception"]
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.promise("RPC-11")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
def test_calls_that_are_not_refused(spans: SpanRecorder, way: str, shape: str) -> None:
    """Through the same interceptors a good call is OK, on both ends of its life."""

    async def read(request: Any) -> None:
        # all of them: grpc.aio makes an RPC INTERNAL that ends while its client is still writing
        if not isinstance(request, bytes):
            assert [each async for each in request] == [b"x"]

    async def serve(request: Any, context: Any) -> AsyncIterator[bytes]:
        await read(request)
        yield b"y"

    async def answer(request: Any, context: Any) -> bytes:
        await read(request)
        return b"y"

    async def main() -> Any:
        functions = {
            each: answer if each.endswith("unary") else serve for each in SHAPES
        }
        async with aio_serving(
            handlers(**functions), instrument=lambda server: server
        ) as address:
            plain = grpc.aio.insecure_channel(address, interceptors=WAYS[way])
            async with instrument_grpc_client(plain) as channel:
                return await call(channel, shape, metadata=REQUEST_ID)

    assert asyncio.run(main()) == (b"y" if shape.endswith("unary") else [b"y"])
    (span,) = spans
    assert span.status.status_code is StatusCode.UNSET
    assert (span.attributes or {})["rpc.grpc.status_code"] == 0


@pytest.mark.promise("RPC-11")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_asyncios_own_complaint_is_left(
    spans: SpanRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused call that nobody awaits is still complained about by asyncio, as without us."""

    async def main() -> None:
        async with instrument_grpc_client(
            grpc.aio.insecure_channel("127.0.0.1:1")
        ) as channel:
            made = channel.unary_unary(path("unary_unary"))(
                b"x", metadata=(REFUSED["number"],)
            )
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(spans) == 1
            del made
            gc.collect()

    with caplog.at_level(logging.ERROR, "asyncio"):
        asyncio.run(main())
    assert [record.getMessage().partition("\n")[0] for record in caplog.records] == [
        "Task exception was never retrieved"
    ]
