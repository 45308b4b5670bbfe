"""The names of attributes: stable ones always, the older ones beside them where `OTEL_SEMCONV_STABILITY_OPT_IN` asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests
from fastapi import FastAPI
from obs_core.testing import SpanRecorder, record_spans
from obs_http import (
    RequestTracingMiddleware,
    instrument_httpx,
    instrument_requests,
    uninstrument_httpx,
    uninstrument_requests,
)
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests import contrib_semconv

OLDER = (
    "http.method",
    "http.scheme",
    "http.host",
    "http.target",
    "http.url",
    "http.status_code",
    "http.flavor",
    "net.",
)
NATIVE_OFF: dict[str, Any] = (
    {"telemetry": {"tracing": False}}
    if "telemetry" in FastAPI.__init__.__annotations__
    else {}
)
QUERY = "page=2&token=s3cret"


@pytest.fixture
def opt_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Set the variable, for contrib as well."""
    yield lambda value: contrib_semconv.opt_in(monkeypatch, value)
    uninstrument_httpx()
    uninstrument_requests()


async def plain(request: Request) -> Response:
    return PlainTextResponse("ok")


def starlette(middleware: Any) -> Any:
    return middleware(Starlette(routes=[Route("/items/{item_id}", plain)]))


def native(**options: Any) -> FastAPI:
    app = FastAPI(**options)

    @app.get("/items/{item_id}")
    def item(item_id: int) -> int:
        return item_id

    app.add_middleware(RequestTracingMiddleware)
    return app


def ask(app: Any) -> dict[str, Any]:
    """Return the attributes of the SERVER span of one request."""

    async def run() -> None:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://shop:8080"
        ) as client:
            assert (await client.get(f"/items/7?{QUERY}")).status_code == 200

    with record_spans() as spans:
        asyncio.run(run())
        (span,) = (span for span in spans if span.kind is SpanKind.SERVER)
        return dict(span.attributes or {})


def older(attributes: dict[str, Any]) -> set[str]:
    return {
        name
        for name in attributes
        if name.startswith(OLDER) and name != "http.status_text"
    }


@pytest.mark.promise("HTTP-04")
@pytest.mark.parametrize("value", ["", "http", "http,database", "database/dup"])
def test_stable_names_alone_unless_both_are_asked_for(
    value: str, opt_in: Callable[[str], None]
) -> None:
    """Whatever else the variable says."""
    opt_in(value)
    assert not older(ask(starlette(RequestTracingMiddleware)))


@pytest.mark.promise("HTTP-04")
def test_both_conventions_on_a_server_span_of_ours(
    opt_in: Callable[[str], None],
) -> None:
    """Under ``http/dup`` every name that contrib's middleware writes is there, so that dashboards live on; no secret is."""
    opt_in("database,http/dup")
    ours, theirs = (
        ask(starlette(RequestTracingMiddleware)),
        ask(starlette(OpenTelemetryMiddleware)),
    )
    assert older(theirs) - older(ours) == set()
    same = older(theirs) - {
        "http.url",
        "http.host",
        "http.server_name",
        "net.peer.port",
    }  # contrib says where it listens
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    assert ours["http.url"] == "http://shop:8080/items/7?page=2&token=[REDACTED]"
    assert (ours["http.host"], ours["net.host.port"], ours["http.status_code"]) == (
        "shop",
        8080,
        200,
    )
    assert (
        ours["http.request.method"],
        ours["http.response.status_code"],
        ours["url.path"],
    ) == (
        "GET",
        200,
        "/items/7",
    )
    assert "s3cret" not in str(ours)


@pytest.mark.promise("HTTP-04")
@pytest.mark.parametrize("options", [{}, NATIVE_OFF] if NATIVE_OFF else [{}])
def test_both_conventions_on_fastapis_own_span(
    options: dict[str, Any], opt_in: Callable[[str], None]
) -> None:
    """FastAPI writes stable names alone; we add the older ones to its span as to ours."""
    opt_in("http/dup")
    found = ask(native(**options))
    assert (found["http.method"], found["http.status_code"], found["http.target"]) == (
        "GET",
        200,
        "/items/7",
    )
    assert found["http.response.status_code"] == 200
    assert "s3cret" not in str(found)


@pytest.mark.promise("HTTP-04")
def test_what_contrib_says_under_older_names_stays(
    opt_in: Callable[[str], None],
) -> None:
    """On a span of contrib's nothing is said twice, or otherwise."""
    opt_in("http/dup")
    alone = ask(starlette(OpenTelemetryMiddleware))
    both = ask(OpenTelemetryMiddleware(starlette(RequestTracingMiddleware)))
    same = older(alone) - {"http.url", "net.peer.port"}
    assert {name: both[name] for name in same} == {name: alone[name] for name in same}


def with_httpx(url: str) -> None:
    with httpx.Client() as client:
        client.get(url)


def with_requests(url: str) -> None:
    requests.get(url, timeout=10)


@pytest.mark.promise("HTTP-04", "HTTP-08")
@pytest.mark.parametrize(
    ("fetch", "instrument", "undo", "contrib"),
    [
        (with_httpx, instrument_httpx, uninstrument_httpx, HTTPXClientInstrumentor),
        (
            with_requests,
            instrument_requests,
            uninstrument_requests,
            RequestsInstrumentor,
        ),
    ],
    ids=["httpx", "requests"],
)
def test_both_conventions_on_a_client_span(
    fetch: Any,
    instrument: Any,
    undo: Any,
    contrib: Any,
    serve: Any,
    opt_in: Callable[[str], None],
    spans: SpanRecorder,
) -> None:
    """The older names of contrib's instrumentation with the same values, the URL's secrets masked in both."""
    url = serve(starlette(lambda app: app))
    opt_in("http/dup")
    contrib().instrument()
    try:
        fetch(f"{url}/items/7?page=2")
    finally:
        contrib().uninstrument()
    theirs = dict(spans.finished[-1].attributes or {})
    instrument()
    fetch(f"{url}/items/7?page=2")
    fetch(f"{url}/items/7?{QUERY}")
    undo()
    ours, secret = (dict(span.attributes or {}) for span in spans.finished[-2:])
    assert older(theirs) - older(ours) == set()
    assert {name: ours[name] for name in older(theirs)} == {
        name: theirs[name] for name in older(theirs)
    }
    assert (
        secret["http.url"]
        == secret["url.full"]
        == f"{url}/items/7?page=2&token=[REDACTED]"
    )
    undo()
    opt_in("http")
    instrument()
    fetch(f"{url}/items/7")
    assert not older(dict(spans.finished[-1].attributes or {}))
