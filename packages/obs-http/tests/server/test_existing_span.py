"""One SERVER span a request, in one trace, whoever else traces the application. `server_spans_table.py` prints the table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from obs_core import TracingConfig, setup_tracing
from obs_core.testing import SpanRecorder, record_spans
from obs_http import RequestTracingMiddleware, instrument_fastapi
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.trace import SpanKind

HAS_NATIVE = "telemetry" in FastAPI.__init__.__annotations__
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID = 0x0AF7651916CD43DD8448EB211C80319C


CONTRIB: list[FastAPI] = []


@pytest.fixture(autouse=True)
def take_back_contrib() -> Iterator[None]:
    """Contrib's `instrument_app` also replaces Starlette's BackgroundTask, until it is taken back."""
    yield
    while CONTRIB:
        FastAPIInstrumentor.uninstrument_app(CONTRIB.pop())


def instrument_by_contrib(app: FastAPI) -> None:
    FastAPIInstrumentor.instrument_app(app)
    CONTRIB.append(app)


def application(**options: Any) -> FastAPI:
    app = FastAPI(**options)

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, int]:
        return {"id": item_id}

    return app


def native_off() -> dict[str, Any]:
    return {"telemetry": {"tracing": False}} if HAS_NATIVE else {}


def with_middleware(**options: Any) -> FastAPI:
    app = application(**options)
    app.add_middleware(RequestTracingMiddleware)
    return app


def with_setup(register: Callable[[FastAPI, Any], None]) -> Callable[[], FastAPI]:
    def build() -> FastAPI:
        app = application()
        _, middleware_config = setup_tracing(
            TracingConfig(service_name="orders"), on_existing_provider="skip"
        )
        register(app, middleware_config)
        return app

    return build


def with_instrument_fastapi() -> FastAPI:
    app = application()
    instrument_fastapi(app)
    return app


def with_contrib_before() -> FastAPI:
    app = application()
    instrument_by_contrib(app)
    app.add_middleware(RequestTracingMiddleware)
    return app


def with_contrib_after() -> FastAPI:
    app = application()
    instrument_fastapi(app)
    instrument_by_contrib(app)
    return app


def with_contrib_asgi_outside() -> OpenTelemetryMiddleware:
    return OpenTelemetryMiddleware(with_middleware())


def with_contrib_asgi_inside() -> FastAPI:
    app = application()
    app.add_middleware(OpenTelemetryMiddleware)
    app.add_middleware(RequestTracingMiddleware)
    return app


def with_starlette_own() -> FastAPI:
    from starlette.middleware.opentelemetry import OpenTelemetryMiddleware as Own

    app = application(**native_off())
    app.add_middleware(RequestTracingMiddleware)
    app.add_middleware(Own)
    return app


def with_starlette_own_inside() -> FastAPI:
    from starlette.middleware.opentelemetry import OpenTelemetryMiddleware as Own

    app = application(**native_off())
    app.add_middleware(Own)
    app.add_middleware(RequestTracingMiddleware)
    return app


def with_mounted(outer: dict[str, Any], inner: dict[str, Any]) -> Callable[[], FastAPI]:
    def build() -> FastAPI:
        app = FastAPI(**outer)
        app.add_middleware(RequestTracingMiddleware)
        app.mount("/", with_middleware(**inner))
        return app

    return build


def has_starlette_own() -> bool:
    try:
        import starlette.middleware.opentelemetry  # noqa: F401
    except ImportError:
        return False
    return True


ARRANGEMENTS: dict[str, Callable[[], Any]] = {
    "add_middleware(*middleware_config)": with_setup(
        lambda app, config: app.add_middleware(*config)
    ),
    "add_middleware(cls, **kwargs)": with_setup(
        lambda app, config: app.add_middleware(config[0], **config[1])
    ),
    "add_middleware(middleware_config)": with_setup(
        lambda app, config: app.add_middleware(config)
    ),
    "instrument_fastapi(app)": with_instrument_fastapi,
    "RequestTracingMiddleware(app)": lambda: RequestTracingMiddleware(application()),
    "the middleware twice": lambda: RequestTracingMiddleware(with_middleware()),
    "mounted sub-app, each with it": with_mounted({}, {}),
    "contrib instrument_app, then ours": with_contrib_before,
    "ours, then contrib instrument_app": with_contrib_after,
    "contrib ASGI outside": with_contrib_asgi_outside,
    "contrib ASGI inside": with_contrib_asgi_inside,
}
if HAS_NATIVE:
    ARRANGEMENTS |= {
        "native off": lambda: with_middleware(**native_off()),
        "native off, sub-app native": with_mounted(native_off(), {}),
        "native, sub-app off": with_mounted({}, native_off()),
    }
if has_starlette_own():
    ARRANGEMENTS |= {
        "Starlette's own outside": with_starlette_own,
        "Starlette's own inside": with_starlette_own_inside,
    }


async def start(app: Any) -> None:
    """Run the lifespan of `app` once through, as a server does before the first request."""
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, str]:
        return next(messages)

    async def send(message: Any) -> None:
        assert message["type"].endswith(".complete"), message

    await app(
        {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send
    )


def count(
    build: Callable[[], Any], headers: dict[str, str], spans: SpanRecorder
) -> tuple[int, int, int]:
    """Return the numbers of SERVER spans, of traces, and of answers other than 200 that three requests lead to."""

    async def ask() -> list[int]:
        app = build()
        await start(app)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://shop"
        ) as client:
            return [
                (await client.get("/items/7", headers=headers)).status_code
                for _ in range(3)
            ]

    statuses = asyncio.run(ask())
    servers = [span for span in spans if span.kind is SpanKind.SERVER]
    return (
        len(servers),
        len({span.context.trace_id for span in spans}),
        3 - statuses.count(200),
    )


@pytest.mark.promise("HTTP-01", "CORE-01")
@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_one_server_span_a_request_whoever_else_traces(
    name: str, spans: SpanRecorder
) -> None:
    """Three requests are three SERVER spans, each alone in its trace, with the route as its name and the id on it."""
    assert count(ARRANGEMENTS[name], {"X-Correlation-ID": "c-1"}, spans) == (3, 3, 0), (
        spans.tree()
    )
    for span in (span for span in spans if span.kind is SpanKind.SERVER):
        assert span.name == "GET /items/{item_id}"
        assert span.attributes is not None
        assert span.attributes["http.route"] == "/items/{item_id}"
        assert span.attributes["correlation_id"] == "c-1"


@pytest.mark.promise("HTTP-01")
@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_the_callers_trace_goes_on(name: str, spans: SpanRecorder) -> None:
    """The one SERVER span is the child of the caller's span."""
    assert count(ARRANGEMENTS[name], {"traceparent": TRACEPARENT}, spans) == (
        3,
        1,
        0,
    ), spans.tree()
    for span in (span for span in spans if span.kind is SpanKind.SERVER):
        assert (span.context.trace_id, span.parent and span.parent.span_id) == (
            TRACE_ID,
            0xB7AD6B7169203331,
        )


def table() -> dict[str, tuple[int, int]]:
    """Return the numbers of SERVER spans and of traces a request, by arrangement."""
    found = {}
    for name, build in ARRANGEMENTS.items():
        with record_spans() as spans:
            servers, traces, _ = count(build, {}, spans)
        found[name] = (
            servers // 3 if servers % 3 == 0 else servers,
            traces // 3 if traces % 3 == 0 else traces,
        )
    return found
