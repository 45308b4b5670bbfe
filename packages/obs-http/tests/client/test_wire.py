"""httpx and httpx2 on real connections: streams, HTTP/2, WebSocket sessions, and a client that is both ends."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
from obs_core.testing import SpanRecorder
from obs_http import instrument_httpx, uninstrument_httpx
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

Serve = Callable[[Any], str]
KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.fixture(autouse=True)
def take_back(library: Any) -> Iterator[None]:
    yield
    uninstrument_httpx()


async def chunks(request: Request) -> Response:
    async def body() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d" % number

    return StreamingResponse(body())


async def echo(session: WebSocket) -> None:
    await session.accept()
    await session.send_json(dict(session.headers))
    await session.close()


def application() -> Starlette:
    return Starlette(routes=[Route("/chunks", chunks), WebSocketRoute("/echo", echo)])


@pytest.mark.promise("HTTP-13")
@KINDS
def test_a_stream_is_one_span_that_ends_with_the_headers(
    kind: str, serve: Serve, spans: SpanRecorder
) -> None:
    """Each chunk arrives; what is done while reading is not below the client's span."""
    instrument_httpx()
    url = serve(application()) + "/chunks"
    ended: list[int] = []

    def read() -> bytes:
        with httpx.Client() as client, client.stream("GET", url) as response:
            ended.append(len(spans))
            return b"".join(response.iter_bytes())

    async def read_async() -> bytes:
        async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
            ended.append(len(spans))
            return b"".join([chunk async for chunk in response.aiter_bytes()])

    assert (read() if kind == "sync" else asyncio.run(read_async())) == b"012"
    assert (ended, len(spans)) == ([1], 1)


@contextmanager
def http2_server(seen: list[dict[str, str]]) -> Iterator[str]:
    """Answer each request of one connection with 200, by HTTP/2 without TLS."""

    def answer(listening: socket.socket) -> None:
        taken, _ = listening.accept()
        connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False)
        )
        connection.initiate_connection()
        with taken:
            taken.sendall(connection.data_to_send())
            while data := taken.recv(65535):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        pairs = [
                            tuple(
                                part.decode() if isinstance(part, bytes) else part
                                for part in pair
                            )
                            for pair in event.headers
                        ]
                        seen.append(dict(pairs))
                        connection.send_headers(
                            event.stream_id, [(":status", "200")], True
                        )
                taken.sendall(connection.data_to_send())

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer, args=(listening,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(10)


@pytest.mark.promise("HTTP-13")
@KINDS
def test_http_2(kind: str, spans: SpanRecorder) -> None:
    """Requests side by side on one connection: a span and a parent id each, and the protocol's version."""
    instrument_httpx()
    seen: list[dict[str, str]] = []
    options: dict[str, Any] = {"http1": False, "http2": True}

    async def ask(url: str) -> None:
        async with httpx.AsyncClient(**options) as client:
            await asyncio.gather(client.get(url), client.get(url))

    with http2_server(seen) as url:
        if kind == "async":
            asyncio.run(ask(url))
        else:
            with httpx.Client(**options) as client:
                client.get(url)
                client.get(url)
    versions = [(span.attributes or {})["network.protocol.version"] for span in spans]
    assert versions == ["2", "2"]
    sent = {headers["traceparent"].split("-")[2] for headers in seen}
    assert sent == {f"{span.context.span_id:016x}" for span in spans}


@pytest.mark.promise("HTTP-13")
@KINDS
def test_the_handshake_of_a_websocket_is_one_span(
    kind: str, serve: Serve, spans: SpanRecorder
) -> None:
    """Of httpx2, which alone has them: the session's server is in the trace."""
    if not hasattr(httpx.Client, "websocket"):
        pytest.skip("no WebSocket in this library")
    instrument_httpx()
    url = serve(application()).replace("http", "ws") + "/echo"

    async def ask() -> dict[str, str]:
        async with httpx.AsyncClient() as client, client.websocket(url) as session:
            return await session.receive_json()

    if kind == "async":
        carried = asyncio.run(ask())
    else:
        with httpx.Client() as client, client.websocket(url) as session:
            carried = session.receive_json()
    (span,) = spans
    assert span.kind is SpanKind.CLIENT
    assert (span.attributes or {})["http.response.status_code"] == 101
    assert carried["traceparent"].split("-")[2] == f"{span.context.span_id:016x}"


@pytest.mark.promise("HTTP-13")
def test_starlettes_test_client_carries_the_trace(spans: SpanRecorder) -> None:
    """Whichever of the libraries it sends by."""
    if find_spec("httpx2") is None:
        pytest.skip("Starlette of today wants httpx2")
    from starlette.testclient import TestClient

    async def headers(request: Request) -> Response:
        return JSONResponse(dict(request.headers))

    instrument_httpx()
    carried = TestClient(Starlette(routes=[Route("/", headers)])).get("/").json()
    (span,) = spans
    assert carried["traceparent"].split("-")[2] == f"{span.context.span_id:016x}"
