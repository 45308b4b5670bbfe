"""Body sizes, requests in progress, and the former metrics: each once, whoever else measures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import requests
from fastapi import FastAPI
from obs_core.testing import SpanRecorder
from obs_http import (
    RequestTracingMiddleware,
    instrument_httpx,
    instrument_requests,
)
from opentelemetry import metrics
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from .meter import Meter
from .server.ways_in import HAS_NATIVE
from .server.ways_in import _start as start

pytestmark = pytest.mark.promise("HTTP-18")
ACTIVE = "http.server.active_requests"
REQUEST, RESPONSE = "http.server.request.body.size", "http.server.response.body.size"
OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def stream(request: Request) -> Response:
    async def chunks() -> Any:
        for _ in range(3):
            yield b"12345"

    return StreamingResponse(chunks())


async def broken(request: Request) -> Response:
    raise ValueError("broken")


def shop() -> Starlette:
    methods = ["GET", "POST", "HEAD"]
    return Starlette(
        routes=[
            Route("/echo/{name}", echo, methods=methods),
            Route("/stream", stream),
            Route("/broken", broken),
        ]
    )


def ask(app: Any, path: str, method: str = "POST", **more: Any) -> None:
    async def run() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://shop:8080"
        ) as client:
            await client.request(method, path, **more)

    asyncio.run(run())


def traced(meter: Meter, **more: Any) -> Starlette:
    app = shop()
    app.add_middleware(RequestTracingMiddleware, meter_provider=meter.provider, **more)
    return app


def test_sizes_have_the_attributes_of_the_duration(
    meter: Meter, spans: SpanRecorder
) -> None:
    """What was said in Content-Length, in both directions."""
    ask(traced(meter), "/echo/7", content=b"x" * 70)
    ((_, _, attributes),) = meter.points("http.server.request.duration")
    assert attributes["http.route"] == "/echo/{name}"
    assert meter.points(REQUEST) == [("obs_http", 70, attributes)]
    assert meter.points(RESPONSE) == [("obs_http", 70, attributes)]


@pytest.mark.parametrize(
    ("path", "method", "sizes"),
    [
        ("/stream", "GET", [15]),  # counted: nothing says its length
        ("/echo/1", "HEAD", []),  # a length, and no body
        ("/broken", "GET", [len("Internal Server Error")]),  # around all middlewares
    ],
)
def test_the_size_of_a_response(
    path: str, method: str, sizes: list[int], meter: Meter, spans: SpanRecorder
) -> None:
    """Of streams too, and of the answer to an exception."""
    app = traced(meter)
    asyncio.run(start(app))
    ask(app, path, method)
    assert meter.sums(RESPONSE) == sizes
    assert meter.sums(REQUEST) == []


@pytest.mark.parametrize("length", ["-5", "1e3", "9" * 40, "x"])
def test_a_length_that_is_none_is_not_measured(
    length: str, meter: Meter, spans: SpanRecorder
) -> None:
    """Whoever sends the request chooses the header."""
    ask(traced(meter), "/echo/7", headers={"content-length": length})
    assert meter.sums(REQUEST) == []


def test_requests_in_progress(meter: Meter, spans: SpanRecorder) -> None:
    """One while it is handled, none afterwards, whatever comes of it."""
    during: list[Any] = []

    async def look(request: Request) -> Response:
        during.append(meter.points(ACTIVE))
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/look", look), Route("/broken", broken)])
    app.add_middleware(RequestTracingMiddleware, meter_provider=meter.provider)
    attributes = {"http.request.method": "GET", "url.scheme": "http"}
    ask(app, "/look", "GET")
    ask(app, "/broken", "GET")
    assert during == [[("obs_http", 1, attributes)]]
    assert meter.points(ACTIVE) == [("obs_http", 0, attributes)]


@pytest.mark.skipif(not HAS_NATIVE, reason="this FastAPI measures nothing")
def test_with_fastapis_own_metrics_ours_are_what_it_lacks(
    meter: Meter, monkeypatch: pytest.MonkeyPatch, spans: SpanRecorder
) -> None:
    """It measures the duration and the requests in progress, and no sizes."""
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meter.provider)
    app = FastAPI()
    app.add_middleware(RequestTracingMiddleware)

    @app.post("/items/{item_id}")
    def get_item(item_id: int) -> int:
        return item_id

    ask(app, "/items/1", content=b"12")
    assert [scope for scope, *_ in meter.points(ACTIVE)] == ["fastapi"]
    assert [point[:2] for point in meter.points(REQUEST)] == [("obs_http", 2)]
    assert [point[:2] for point in meter.points(RESPONSE)] == [("obs_http", 1)]


def test_what_contrib_measures_is_not_measured_again(
    meter: Meter, spans: SpanRecorder
) -> None:
    """Contrib's middleware around ours opens the span, and measures."""
    app = OpenTelemetryMiddleware(traced(meter), meter_provider=meter.provider)
    ask(app, "/echo/7", content=b"x")
    for name in (ACTIVE, "http.server.request.duration", REQUEST, RESPONSE):
        assert "obs_http" not in {scope for scope, *_ in meter.points(name)}


def test_the_former_metrics_of_a_server(
    meter: Meter, monkeypatch: pytest.MonkeyPatch, spans: SpanRecorder
) -> None:
    """Beside the stable ones, with the former names, as contrib's were: milliseconds, the route as target."""
    monkeypatch.setenv(OPT_IN, "http/dup")
    ask(traced(meter), "/echo/7", content=b"x" * 70)
    ((_, duration_ms, attributes),) = meter.points("http.server.duration")
    assert attributes == {
        "http.method": "POST",
        "http.scheme": "http",
        "http.flavor": "1.1",
        "http.host": "shop",
        "net.host.port": 8080,
        "http.status_code": 200,
        "http.target": "/echo/{name}",
    }
    assert duration_ms == int(duration_ms)
    assert meter.points("http.server.request.size") == [("obs_http", 70, attributes)]
    assert meter.points("http.server.response.size") == [("obs_http", 70, attributes)]
    assert len(meter.points("http.server.request.duration")) == 1


@pytest.mark.skipif(not HAS_NATIVE, reason="this FastAPI measures nothing")
def test_the_former_metrics_beside_fastapis_own(
    meter: Meter, monkeypatch: pytest.MonkeyPatch, spans: SpanRecorder
) -> None:
    """FastAPI has the stable ones alone."""
    monkeypatch.setenv(OPT_IN, "http/dup")
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meter.provider)
    app = FastAPI()
    app.add_middleware(RequestTracingMiddleware)
    ask(app, "/nowhere", "GET")
    ((scope, _, attributes),) = meter.points("http.server.duration")
    assert (scope, attributes["http.status_code"]) == ("obs_http", 404)
    assert [s for s, *_ in meter.points("http.server.request.duration")] == ["fastapi"]


@pytest.mark.parametrize("opt_in", ["", "http", "database/dup"])
def test_without_the_word_there_are_none(
    opt_in: str, meter: Meter, monkeypatch: pytest.MonkeyPatch, spans: SpanRecorder
) -> None:
    """Read when instrumenting, as for spans."""
    monkeypatch.setenv(OPT_IN, opt_in)
    ask(traced(meter), "/echo/7")
    assert meter.points("http.server.duration") == []


def with_httpx(url: str) -> None:
    with httpx.Client() as client:
        client.post(url, content=b"x" * 70)


def with_async_httpx(url: str) -> None:
    async def run() -> None:
        async with httpx.AsyncClient() as client:
            await client.post(url, content=b"x" * 70)

    asyncio.run(run())


def with_requests(url: str) -> None:
    requests.post(url, data=b"x" * 70, timeout=10)


CLIENTS = pytest.mark.parametrize(
    ("fetch", "instrument"),
    [
        (with_httpx, instrument_httpx),
        (with_async_httpx, instrument_httpx),
        (with_requests, instrument_requests),
    ],
    ids=["httpx", "httpx, async", "requests"],
)


@CLIENTS
def test_a_client_s_sizes_and_requests_in_progress(
    fetch: Callable[[str], None],
    instrument: Any,
    serve: Any,
    meter: Meter,
    spans: SpanRecorder,
) -> None:
    """What was said in Content-Length; a body that is streamed is not measured."""
    url = httpx.URL(serve(shop()))
    instrument(meter_provider=meter.provider)
    fetch(f"{url}/echo/7")
    ((_, _, attributes),) = meter.points("http.client.request.duration")
    assert meter.points("http.client.request.body.size") == [
        ("obs_http", 70, attributes)
    ]
    assert meter.points("http.client.response.body.size") == [
        ("obs_http", 70, attributes)
    ]
    here = {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": url.port,
    }
    assert meter.points("http.client.active_requests") == [("obs_http", 0, here)]
    assert meter.points("http.client.duration") == []


@CLIENTS
def test_the_former_metric_of_a_client(
    fetch: Callable[[str], None],
    instrument: Any,
    serve: Any,
    meter: Meter,
    monkeypatch: pytest.MonkeyPatch,
    spans: SpanRecorder,
) -> None:
    """Beside the stable one, as contrib's was."""
    monkeypatch.setenv(OPT_IN, "http/dup")
    url = httpx.URL(serve(shop()))
    instrument(meter_provider=meter.provider)
    fetch(f"{url}/echo/7")
    ((_, duration_ms, attributes),) = meter.points("http.client.duration")
    assert attributes == {
        "http.method": "POST",
        "http.status_code": 200,
        "http.flavor": "1.1",
        "http.host": "127.0.0.1",
        "http.scheme": "http",
        "net.peer.name": "127.0.0.1",
        "net.peer.port": url.port,
    }
    assert duration_ms == int(duration_ms)
    assert len(meter.points("http.client.request.duration")) == 1
