"""What tracing costs a request: obs-http beside contrib and beside FastAPI's own tracing, round by round in one run.

    python benchmarks/http_overhead.py [rounds]

A round calls each contestant in turn, so that a busy machine is busy for all of them. Overhead is the contestant's CPU time
less the untraced time of the same round; a ratio is ours to a peer's, the median over the rounds. "native" is FastAPI (0.142
and later) with its SERVER span alone, "native, all" with its spans of each step as well, as by default; "ours" opens the SERVER
span itself, outside, on the provider of a set-up, "ours on native" enriches FastAPI's, with its SERVER span alone.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable

import httpx
from fastapi import FastAPI
from obs_http import RequestTracingMiddleware, instrument_httpx
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from providers import our_provider
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from table import head, row

REQUESTS = 20
CONTESTANTS = ("contrib", "native", "native, all", "ours", "ours on native")
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{}"
HEADERS = {
    "host": "shop.example.com", "user-agent": "bench/1.0", "accept": "*/*", "accept-encoding": "gzip, deflate",
    "connection": "keep-alive", "content-type": "application/json", "x-forwarded-for": "10.0.0.1", "x-request-id": "r-1",
}  # fmt: skip


def provider(rate: float) -> TracerProvider:
    made = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(rate)), shutdown_on_exit=False
    )
    made.add_span_processor(SpanProcessor())
    return made


def application() -> Starlette:
    async def item(request: object) -> JSONResponse:
        return JSONResponse({"id": 7})

    return Starlette(routes=[Route("/items/{id}", item)])


def scope(flags: str) -> dict[str, object]:
    pairs = {**HEADERS, "traceparent": TRACEPARENT.format(flags)}
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": "/items/7", "raw_path": b"/items/7", "query_string": b"page=2", "root_path": "",
        "client": ("127.0.0.1", 5000), "server": ("127.0.0.1", 80),
        "headers": [(name.encode(), value.encode()) for name, value in pairs.items()],
    }  # fmt: skip


async def receive() -> dict[str, object]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: object) -> None:
    pass


async def serve(app: Callable[..., object], flags: str) -> float:
    """Return the CPU seconds that one request takes, the mean of `REQUESTS`."""
    scopes = [scope(flags) for _ in range(REQUESTS)]
    start = time.thread_time()
    for each in scopes:
        await app(each, receive, send)  # type: ignore[misc]
    return (time.thread_time() - start) / REQUESTS


def servers(rate: float) -> dict[str, Callable[..., object]]:
    ours, theirs = application(), application()
    ours.add_middleware(RequestTracingMiddleware, tracer_provider=our_provider(rate))
    theirs.add_middleware(
        OpenTelemetryMiddleware,
        tracer_provider=provider(rate),
        exclude_spans=["send", "receive"],
    )
    return {"bare": application(), "contrib": theirs, "ours": ours}


def fastapi(**telemetry: object) -> FastAPI:
    app = FastAPI(telemetry={"metrics": False, "logs": False, **telemetry})

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, int]:
        return {"id": item_id}

    return app


def fastapis(rate: float) -> dict[str, Callable[..., object]]:
    off, alone = (
        {"tracing": False},
        {"tracer_provider": provider(rate), "operation_spans": False},
    )
    theirs, enriched = fastapi(**off), fastapi(**alone)
    FastAPIInstrumentor.instrument_app(
        theirs, tracer_provider=provider(rate), exclude_spans=["send", "receive"]
    )
    enriched.add_middleware(RequestTracingMiddleware)
    return {
        "bare": fastapi(**off),
        "contrib": theirs,
        "native": fastapi(**alone),
        "native, all": fastapi(tracer_provider=provider(rate)),
        "ours": RequestTracingMiddleware(
            fastapi(**off), tracer_provider=our_provider(rate)
        ),
        "ours on native": enriched,
    }


def clients(rate: float) -> dict[str, httpx.Client]:
    made = {
        name: httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200)))
        for name in ("bare", "contrib", "ours")
    }
    HTTPXClientInstrumentor().instrument_client(
        made["contrib"], tracer_provider=provider(rate)
    )
    instrument_httpx(made["ours"], tracer_provider=our_provider(rate))
    return made


def fetch(client: httpx.Client) -> float:
    """Return the CPU seconds that one request takes, the mean of `REQUESTS`."""
    start = time.thread_time()
    for _ in range(REQUESTS):
        client.get("https://shop.example.com/items/7?page=2")
    return (time.thread_time() - start) / REQUESTS


def measure(title: str, rounds: int) -> list[dict[str, float]]:
    """Return each round's seconds a request by contestant."""
    kind, sampling = title.split(", ")
    rate, flags = (1.0, "01") if sampling == "sampled" else (0.0, "00")
    if kind == "httpx":
        contestants = clients(rate)
        return [
            {name: fetch(client) for name, client in contestants.items()}
            for _ in range(rounds + 1)
        ][1:]
    apps, loop = (
        (servers if kind == "ASGI" else fastapis)(rate),
        asyncio.new_event_loop(),
    )
    try:
        found = [
            {
                name: loop.run_until_complete(serve(app, flags))
                for name, app in apps.items()
            }
            for _ in range(rounds + 1)
        ]
    finally:
        loop.close()
    return found[1:]


if __name__ == "__main__":
    groups = [
        "ASGI",
        "httpx",
        *(["FastAPI"] if "telemetry" in FastAPI.__init__.__annotations__ else []),
    ]
    print(head("µs added to a request", CONTESTANTS))
    for title in (
        f"{group}, {sampling}"
        for group in groups
        for sampling in ("sampled", "unsampled")
    ):
        taken = measure(title, int(sys.argv[1]) if len(sys.argv) > 1 else 300)
        print(
            row(
                title,
                CONTESTANTS,
                [{name: time * 1e6 for name, time in each.items()} for each in taken],
            ),
            flush=True,
        )
