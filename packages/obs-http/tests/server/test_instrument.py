"""`instrument_fastapi` and its inverse, and that nothing of an application is kept."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from obs_core import CorrelationConfig, TracingConfig, setup_tracing
from obs_core.exceptions import AlreadyConfiguredError, ConfigurationError
from obs_core.testing import SpanRecorder
from obs_http import RequestTracingMiddleware, instrument_fastapi, uninstrument_fastapi
from obs_http.server._entry import _guards
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette

NATIVE_OFF: dict[str, Any] = (
    {"telemetry": {"tracing": False}}
    if "telemetry" in FastAPI.__init__.__annotations__
    else {}
)


def application() -> FastAPI:
    app = FastAPI(**NATIVE_OFF)

    @app.get("/")
    async def answer() -> str:
        return "ok"

    @app.get("/fails")
    async def fails() -> None:
        raise ValueError("no")

    return app


def ask(
    app: Any, path: str = "/", headers: dict[str, str] | None = None
) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://t"
        ) as client:
            return await client.get(path, headers=headers)

    return asyncio.run(run())


def servers(spans: SpanRecorder) -> list[str]:
    return [span.name for span in spans if span.kind is SpanKind.SERVER]


@pytest.mark.promise("HTTP-01")
def test_it_works_before_and_after_the_first_request(spans: SpanRecorder) -> None:
    """Unlike contrib's `instrument_app`, which is silent once the middleware stack is built."""
    app = application()
    ask(app)
    assert servers(spans) == []
    instrument_fastapi(app)
    ask(app)
    assert servers(spans) == ["GET /"]
    fresh = application()
    instrument_fastapi(fresh)
    ask(fresh)
    assert servers(spans) == ["GET /", "GET /"]


@pytest.mark.promise("HTTP-01")
def test_uninstrument_is_the_exact_inverse(spans: SpanRecorder) -> None:
    """The application, its class and its stack are what they were; instrumenting twice is instrumenting once."""
    app = application()
    ask(app)
    before, stack = dict(vars(app)), app.middleware_stack
    handle = instrument_fastapi(app)
    assert instrument_fastapi(app) is handle
    ask(app)
    assert servers(spans) == ["GET /"]
    uninstrument_fastapi(app)
    others = [other for other, _ in _guards.values() if type(other()) is FastAPI]
    assert app.middleware_stack is stack
    assert {
        name: value for name, value in vars(app).items() if name != "middleware_stack"
    } == {name: value for name, value in before.items() if name != "middleware_stack"}
    assert others or not hasattr(FastAPI.__call__, "__wrapped__")
    ask(app)
    assert servers(spans) == ["GET /"]
    assert not handle.is_active


@pytest.mark.promise("HTTP-01")
def test_uninstrument_finds_it_below_what_came_later(spans: SpanRecorder) -> None:
    """Where another middleware has been put around ours since, ours is taken out from under it."""

    class Around:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)

    app = application()
    instrument_fastapi(app)
    ask(app)
    app.middleware_stack = Around(app.middleware_stack)
    uninstrument_fastapi(app)
    assert ask(app).text == '"ok"'
    assert servers(spans) == ["GET /"]


@pytest.mark.promise("HTTP-06")
def test_a_500_has_the_correlation_id_whatever_server_and_place() -> None:
    """The answer to an unhandled exception is written around all middlewares, and still is ours to complete."""
    outermost, inside = application(), application()
    instrument_fastapi(outermost)
    inside.add_middleware(RequestTracingMiddleware)
    ask(inside)
    for app in (outermost, inside, RequestTracingMiddleware(application())):
        answer = ask(app, "/fails")
        assert (answer.status_code, len(answer.headers["X-Correlation-ID"])) == (
            500,
            36,
        )


@pytest.mark.promise("HTTP-04")
def test_the_status_is_that_of_the_error_handlers_answer(spans: SpanRecorder) -> None:
    """A handler of one's own for unhandled exceptions answers 503: so says the span."""
    from fastapi import Request, Response

    app = application()

    @app.exception_handler(Exception)
    async def sorry(request: Request, error: Exception) -> Response:
        return Response(status_code=503)

    app.add_middleware(RequestTracingMiddleware)
    ask(app)
    assert ask(app, "/fails").status_code == 503
    assert [
        span.attributes["http.response.status_code"]
        for span in spans
        if span.attributes
    ] == [
        200,
        503,
    ]


@pytest.mark.parametrize(
    "way", ["add_middleware", "instrument_fastapi(app)", "instrument_fastapi()"]
)
def test_an_application_is_not_kept_alive(way: str, spans: SpanRecorder) -> None:
    """Neither the middleware, nor the edge, nor the registry holds an application that its owner has let go."""
    app = application()
    if way == "add_middleware":
        app.add_middleware(RequestTracingMiddleware)
    else:
        instrument_fastapi(app if way == "instrument_fastapi(app)" else None)
    ask(app)
    gone = weakref.ref(app)
    del app
    gc.collect()
    uninstrument_fastapi()
    assert gone() is None
    assert servers(spans) == ["GET /"]


@pytest.mark.promise("HTTP-11")
def test_all_applications(spans: SpanRecorder) -> None:
    """Those that have served already, and those that come; one that has the middleware keeps its own; all are put back."""
    served, own, fresh, starlette = (
        application(),
        application(),
        application(),
        Starlette(),
    )
    ask(served)
    stack = served.middleware_stack
    own.add_middleware(RequestTracingMiddleware, service_name="mine")
    handle = instrument_fastapi()
    for app in (served, fresh, starlette):
        assert "X-Correlation-ID" in ask(app).headers
    assert ask(own).headers["X-Service-Name"] == "mine"
    assert servers(spans) == ["GET /", "GET /", "GET", "GET /"]
    del own
    gc.collect()
    handle.uninstrument()
    assert served.middleware_stack is stack
    for app in (served, fresh, starlette):
        assert "X-Correlation-ID" not in ask(app).headers
        assert not [name for name in vars(app) if name.startswith("_obs_http")]
    if not _guards:
        assert not any(
            hasattr(cls.__call__, "__wrapped__") for cls in (Starlette, FastAPI)
        )


@pytest.mark.promise("HTTP-11")
@pytest.mark.parametrize("which", ["one", "all"])
def test_an_application_without_a_hash(which: str, spans: SpanRecorder) -> None:
    """A class with an ``__eq__`` has none: traced all the same, and put back."""

    class Shop(FastAPI):
        def __eq__(self, other: object) -> bool:
            return self is other

    app = Shop(**NATIVE_OFF)
    app.get("/")(lambda: "ok")
    handle = instrument_fastapi(app) if which == "one" else instrument_fastapi()
    assert ask(app).json() == "ok"
    assert servers(spans) == ["GET /"]
    handle.uninstrument()
    assert "X-Correlation-ID" not in ask(app).headers
    assert id(app) not in _guards


def test_a_second_call_with_other_options_says_so() -> None:
    """The first options stay, and the message names what differs; a call without any option takes what is there."""
    app = application()
    handle = instrument_fastapi(app, exclude=["/"])
    assert instrument_fastapi(app, exclude=["/"]) is handle
    assert instrument_fastapi(app) is handle
    with pytest.raises(AlreadyConfiguredError, match="another traceresponse:"):
        instrument_fastapi(app, traceresponse=True)
    uninstrument_fastapi(app)


@pytest.mark.promise("HTTP-06")
@pytest.mark.parametrize("way", ["instrument_fastapi", "add_middleware"])
def test_a_set_up_that_comes_later_counts(way: str, spans: SpanRecorder) -> None:
    """The configured header, the service's name and what to mask are the set-up's, whichever is called first."""
    app = application()
    if way == "add_middleware":
        app.add_middleware(RequestTracingMiddleware)
    else:
        instrument_fastapi(app)
    ask(app)
    setup_tracing(
        TracingConfig(
            service_name="shop",
            redact=["*ssn*"],
            correlation=CorrelationConfig(headers=["X-Trace"]),
        ),
        on_existing_provider="skip",
    )
    answer = ask(app, "/?ssn=078-05-1120", {"X-Trace": "t-1"})
    assert (answer.headers["X-Trace"], answer.headers["X-Service-Name"]) == (
        "t-1",
        "shop",
    )
    assert "078-05-1120" not in spans.finished[-1].to_json()


@pytest.mark.promise("HTTP-11")
@pytest.mark.parametrize("options", [{}, NATIVE_OFF], ids=["native", "native off"])
def test_suppressed_instrumentation_makes_no_span(
    options: Any, spans: SpanRecorder
) -> None:
    """Neither ours nor FastAPI's, and nothing below; the request is served."""
    app = FastAPI(**options)

    @app.get("/")
    async def answer() -> str:
        with trace.get_tracer("test").start_as_current_span("below"):
            return "ok"

    instrument_fastapi(app)
    with suppress_instrumentation():
        assert ask(app).status_code == 200
    assert not len(spans)


def test_only_applications_are_taken() -> None:
    """Anything else is refused, with what was given; so is an option that is wrong, before anything is changed."""
    with pytest.raises(ConfigurationError, match="application"):
        instrument_fastapi("app")  # type: ignore[arg-type]
    app = Starlette()
    with pytest.raises(ConfigurationError):
        instrument_fastapi(app, exclude=["health"])
    assert "build_middleware_stack" not in vars(app)
