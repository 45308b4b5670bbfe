"""Services that keep an unsampled request tell each other, in both directions, where the trace is believed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests
from fastapi import BackgroundTasks, FastAPI
from obs_core import Keep, keep_trace, trace_function
from obs_core.testing import SpanRecorder, record_spans, wait_until
from obs_http import (
    RequestTracingMiddleware,
    instrument_fastapi,
    instrument_httpx,
    instrument_requests,
    uninstrument_fastapi,
    uninstrument_httpx,
    uninstrument_requests,
)
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

pytestmark = pytest.mark.promise("CORE-91")
Serve = Callable[[Any], str]
tracer = trace.get_tracer("test")
CALLER = {"traceparent": f"00-{7:032x}-{9:016x}-00"}


@pytest.fixture
def spans() -> Iterator[SpanRecorder]:
    """Nothing is sampled."""
    with record_spans(sampling_rate=0.0, keep=Keep(slower_than_s=30)) as recorder:
        instrument_httpx()
        instrument_requests()
        yield recorder
        uninstrument_httpx()
        uninstrument_requests()


@trace_function
def step(*, fails: bool = False) -> None:
    """A part of a request."""
    if fails:
        raise ValueError("no")


def handled() -> None:
    with pytest.raises(ValueError, match="no"):
        step(fails=True)


async def well(request: Request) -> Response:
    step()
    return PlainTextResponse("well")


async def hidden(request: Request) -> Response:
    handled()
    return PlainTextResponse("an error inside")


async def asked(request: Request) -> Response:
    keep_trace()
    return PlainTextResponse("asked")


async def broken(request: Request) -> Response:
    raise KeyError("x")


async def away(request: Request) -> Response:
    return RedirectResponse("/hidden")


def application(**options: Any) -> Starlette:
    handlers = (well, hidden, asked, broken, away)
    app = Starlette(routes=[Route(f"/{each.__name__}", each) for each in handlers])
    app.add_middleware(RequestTracingMiddleware, **options)
    return app


def get_httpx(url: str) -> int:
    return httpx.get(url, follow_redirects=True).status_code


def get_httpx_async(url: str) -> int:
    async def get() -> int:
        async with httpx.AsyncClient(follow_redirects=True) as client:
            return (await client.get(url)).status_code

    return asyncio.run(get())


def get_requests(url: str) -> int:
    return requests.get(url, timeout=10).status_code


each_client = pytest.mark.parametrize(
    "get", [get_httpx, get_httpx_async, get_requests], ids=lambda get: get.__name__
)


@each_client
@pytest.mark.parametrize(
    ("path", "reason"),
    [("hidden", "error"), ("asked", "asked"), ("broken", "error"), ("away", "error")],
)
def test_the_caller_is_told_by_the_response(
    serve: Serve, spans: SpanRecorder, get: Callable[[str], int], path: str, reason: str
) -> None:
    """Both parts are whole, in one trace, though the caller has seen nothing wrong."""
    url = serve(application())
    with tracer.start_as_current_span("caller"):
        step()
        get(f"{url}/{path}")
    root = spans.one("caller")
    assert root.attributes == {"obs.kept": reason}
    served = "GET /hidden" if path == "away" else f"GET /{path}"
    wait_until(lambda: len(spans.named(served)) == 1)
    assert {span.context.trace_id for span in spans} == {root.context.trace_id}
    assert any(span.name.endswith("step") for span in spans.finished)


@each_client
def test_a_well_request_is_kept_nowhere(
    serve: Serve, spans: SpanRecorder, get: Callable[[str], int]
) -> None:
    """No header, no span."""
    url = serve(application())
    with tracer.start_as_current_span("caller"):
        get(f"{url}/well")
    assert spans.finished == []
    assert "x-obs-kept" not in httpx.get(f"{url}/well", headers=CALLER).headers


@each_client
def test_the_callee_is_told_by_the_tracestate(
    serve: Serve, spans: SpanRecorder, get: Callable[[str], int]
) -> None:
    """What is called after the decision is kept; what was called before and was well is not."""
    url = serve(application())
    with tracer.start_as_current_span("caller"):
        get(f"{url}/well?before")
        handled()
        get(f"{url}/well?after")
    wait_until(lambda: spans.named("GET /well") != [])
    assert (spans.one("GET /well").attributes or {})["url.query"] == "after"


def test_forged_headers_of_a_caller_say_nothing(
    serve: Serve, spans: SpanRecorder
) -> None:
    """A service that is open to the internet neither believes the mark nor answers it."""
    url = serve(application(trust_remote_context=False))
    forged = {**CALLER, "tracestate": "obs=kept:asked"}
    answer = httpx.get(f"{url}/well", headers=forged)
    assert spans.finished == []
    answer = httpx.get(f"{url}/hidden", headers=forged)
    assert "x-obs-kept" not in answer.headers
    wait_until(lambda: spans.named("GET /hidden") != [])
    assert spans.named("GET /well") == []


def test_a_caller_without_a_trace_is_told_nothing(
    serve: Serve, spans: SpanRecorder
) -> None:
    """A browser has no use for it."""
    url = serve(application())
    uninstrument_httpx()
    assert "x-obs-kept" not in httpx.get(f"{url}/hidden").headers
    answer = httpx.get(f"{url}/hidden", headers=CALLER)
    assert answer.headers["x-obs-kept"] == "error"


def test_forged_headers_of_a_callee_say_nothing(spans: SpanRecorder) -> None:
    """A host that is sent no trace context has no say, and no callee can say what is no reason."""
    told = httpx.MockTransport(
        lambda request: httpx.Response(
            200, headers={"x-obs-kept": request.url.path[1:]}
        )
    )
    uninstrument_httpx()
    client = httpx.Client(transport=told)
    instrument_httpx(client, propagate_to=["*.internal"])
    with tracer.start_as_current_span("caller"):
        client.get("http://api.example.com/error")
        client.get("http://orders.internal/everything")
    assert spans.finished == []
    with tracer.start_as_current_span("caller"):
        client.get("http://orders.internal/error")
    assert len(spans) == 2


def test_sampled_requests_have_no_header(serve: Serve) -> None:
    """They are exported anyway."""
    with record_spans(keep=Keep()):
        url = serve(application())
        sampled = {"traceparent": f"00-{7:032x}-{9:016x}-01"}
        answer = httpx.get(f"{url}/hidden", headers=sampled)
    assert "x-obs-kept" not in answer.headers


def test_a_background_task_that_fails_keeps_its_request(
    serve: Serve, spans: SpanRecorder
) -> None:
    """The request is held until the application has returned, although it was answered, and well, before."""
    app = FastAPI()
    instrument_fastapi(app)

    @app.get("/later")
    async def later(tasks: BackgroundTasks) -> str:
        step()
        tasks.add_task(handled)
        return "well"

    url = serve(app)
    assert httpx.get(f"{url}/later").status_code == 200
    uninstrument_fastapi(app)
    wait_until(lambda: [span.kind.name for span in spans].count("SERVER") == 1)
    assert len([span for span in spans if span.name.endswith("step")]) == 2


def test_paths_that_are_excluded_record_nothing(
    serve: Serve, spans: SpanRecorder
) -> None:
    """Health checks are no requests, also when something fails below."""
    url = serve(application(exclude=["/hidden"]))
    assert httpx.get(f"{url}/hidden", headers=CALLER).text == "an error inside"
    assert [span for span in spans if span.kind.name == "SERVER"] == []
