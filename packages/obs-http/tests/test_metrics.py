"""The duration of requests as a metric: each request once, whoever else measures, and nothing where nobody wants to know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import requests
from fastapi import FastAPI, HTTPException
from obs_core.testing import SpanRecorder
from obs_http import (
    RequestTracingMiddleware,
    instrument_httpx,
    instrument_requests,
    uninstrument_httpx,
)
from obs_http._metrics import Metrics
from opentelemetry import metrics
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from .meter import Meter

SERVER, CLIENT = "http.server.request.duration", "http.client.request.duration"
HAS_TELEMETRY = "telemetry" in FastAPI.__init__.__annotations__
UNSAMPLED = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)


async def item(request: Request) -> Response:
    if request.path_params["item_id"] == "broken":
        raise ValueError("broken")
    return PlainTextResponse(
        "ok", status_code=404 if request.path_params["item_id"] == "none" else 200
    )


def ask(app: Any, *paths: str, method: str = "GET") -> None:
    async def run() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://shop"
        ) as client:
            for path in paths:
                await client.request(method, path)

    asyncio.run(run())


@pytest.mark.parametrize("provider", [None, UNSAMPLED], ids=["sampled", "unsampled"])
def test_a_request_is_measured_whether_sampled_or_not(
    provider: Any, meter: Meter, spans: SpanRecorder
) -> None:
    """Each once, by method, route and outcome; excluded paths not at all; nothing that a caller can make up is a label."""
    app = Starlette(routes=[Route("/items/{item_id}", item)])
    app.add_middleware(
        RequestTracingMiddleware,
        meter_provider=meter.provider,
        tracer_provider=provider,
    )
    ask(
        app,
        "/items/1",
        "/items/2",
        "/items/none",
        "/items/broken",
        "/nowhere/1",
        "/nowhere/2",
        "/health",
    )
    ask(app, "/items/3", method="BREW")
    same = {"url.scheme": "http", "network.protocol.version": "1.1"}
    get = {**same, "http.request.method": "GET"}
    found = {
        route["http.route"]: route
        for *_, route in meter.measured(SERVER)
        if "http.route" in route
    }
    assert set(found) == {"/items/{item_id}"}
    series = meter.measured(SERVER)
    assert {scope for scope, *_ in series} == {"obs_http"}
    route = {"http.route": "/items/{item_id}"}
    expected = [
        (2, {**get, **route, "http.response.status_code": 200}),
        (1, {**get, **route, "http.response.status_code": 404}),
        (
            1,
            {
                **get,
                **route,
                "http.response.status_code": 500,
                "error.type": "ValueError",
            },
        ),
        (2, {**get, "http.response.status_code": 404}),
        (
            1,
            {
                **same,
                **route,
                "http.request.method": "_OTHER",
                "http.response.status_code": 405,
            },
        ),
    ]
    assert sorted(
        (count, sorted(attributes.items(), key=str)) for _, count, attributes in series
    ) == sorted(
        (count, sorted(attributes.items(), key=str)) for count, attributes in expected
    )


@pytest.mark.skipif(not HAS_TELEMETRY, reason="this FastAPI measures nothing")
@pytest.mark.parametrize(
    ("telemetry", "scopes"),
    [
        ({}, ["fastapi"]),
        ({"tracing": False}, ["fastapi"]),
        ({"tracing": False, "metrics": False, "logs": False}, ["obs_http"]),
        ({"metrics": False}, []),
    ],
    ids=["native", "native metrics alone", "native off", "native without metrics"],
)
def test_what_fastapi_measures_is_not_measured_again(
    telemetry: dict[str, Any],
    scopes: list[str],
    meter: Meter,
    monkeypatch: pytest.MonkeyPatch,
    spans: SpanRecorder,
) -> None:
    """Whoever opens the request's span measures it, FastAPI also where it is told only to measure."""
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meter.provider)
    app = FastAPI(telemetry=telemetry)
    app.add_middleware(RequestTracingMiddleware)

    @app.get("/items/{item_id}")
    def get_item(item_id: int) -> int:
        raise HTTPException(404)

    ask(app, "/items/1")
    found = meter.measured(SERVER)
    assert [scope for scope, *_ in found] == scopes
    assert all(
        (count, attributes["http.route"]) == (1, "/items/{item_id}")
        for _, count, attributes in found
    )


def test_a_meter_provider_may_come_late_and_none_costs_nothing(
    meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API's own providers, which measure nothing, are never used; one that is set later is found within 100 requests."""
    for nothing in (metrics._internal._ProxyMeterProvider, NoOpMeterProvider):
        made = Metrics("server", None)
        monkeypatch.setattr(metrics, "get_meter_provider", nothing)
        assert made.instruments() is None
        monkeypatch.setattr(metrics, "get_meter_provider", lambda: meter.provider)
        found = [made.instruments() for _ in range(101)]
        assert found[-1] is not None
        assert found[-2:] == [found[-1]] * 2


def test_a_broken_meter_provider_is_not_felt(spans: SpanRecorder) -> None:
    """Neither where making the histogram raises, nor where recording does."""

    class Broken:
        def get_meter(self, *_: Any) -> Any:
            raise RuntimeError("no meter")

    class Raises:
        def get_meter(self, *_: Any) -> Any:
            return self

        def create_histogram(self, *_: Any) -> Any:
            return self

        create_up_down_counter = create_histogram

        def add(self, *_: Any) -> None:
            raise RuntimeError("no count")

        def record(self, *_: Any) -> None:
            raise RuntimeError("no record")

    for provider in (Broken(), Raises()):
        app = Starlette(routes=[Route("/items/{item_id}", item)])
        app.add_middleware(RequestTracingMiddleware, meter_provider=provider)  # type: ignore[arg-type]
        instrument_httpx(meter_provider=provider)  # type: ignore[arg-type]
        ask(app, "/items/1")
        uninstrument_httpx()
    assert len(spans.named("GET /items/{item_id}")) == 2


def with_httpx(url: str) -> None:
    with httpx.Client() as client:
        client.get(url)


def with_async_httpx(url: str) -> None:
    async def run() -> None:
        async with httpx.AsyncClient() as client:
            await client.get(url)

    asyncio.run(run())


def with_requests(url: str) -> None:
    requests.get(url, timeout=10)


@pytest.mark.parametrize("provider", [None, UNSAMPLED], ids=["sampled", "unsampled"])
@pytest.mark.parametrize(
    ("fetch", "instrument"),
    [
        (with_httpx, instrument_httpx),
        (with_async_httpx, instrument_httpx),
        (with_requests, instrument_requests),
    ],
    ids=["httpx", "httpx, async", "requests"],
)
def test_what_a_client_sends_is_measured(
    fetch: Callable[[str], None],
    instrument: Any,
    provider: Any,
    serve: Any,
    meter: Meter,
    spans: SpanRecorder,
) -> None:
    """Each request once, by host and outcome, never by path; suppressed ones not at all."""
    url = httpx.URL(serve(Starlette(routes=[Route("/items/{item_id}", item)])))
    instrument(meter_provider=meter.provider, tracer_provider=provider)
    for path in ("/items/1?token=s3cret", "/items/2", "/items/none"):
        fetch(f"{url}{path}")
    with suppress_instrumentation():
        fetch(f"{url}/items/3")
    with pytest.raises((httpx.ConnectError, requests.ConnectionError)):
        fetch("http://127.0.0.1:1/")
    same = {"http.request.method": "GET", "server.address": "127.0.0.1"}
    here = {**same, "server.port": url.port, "network.protocol.version": "1.1"}
    found = {
        attributes.get("http.response.status_code"): (n, attributes)
        for _, n, attributes in meter.measured(CLIENT)
    }
    refused = {**same, "server.port": 1, "error.type": found[None][1]["error.type"]}
    assert found == {
        200: (2, {**here, "http.response.status_code": 200}),
        404: (1, {**here, "http.response.status_code": 404, "error.type": "404"}),
        None: (1, refused),
    }
    assert refused["error.type"] in (
        "httpx.ConnectError",
        "requests.exceptions.ConnectionError",
    )
