"""The real clients of OpenAI and Anthropic, which send by httpx2 of late, against a server that speaks their formats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from obs_core import trace_llm
from obs_core.testing import SpanRecorder, record_spans, wait_until
from obs_http import RequestTracingMiddleware, instrument_httpx, uninstrument_httpx
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

OPENAI = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
}  # fmt: skip
ANTHROPIC = {
    "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "Hello"}],
    "usage": {"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 2},
}  # fmt: skip
ASK: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]


def provider() -> Starlette:
    """Both providers; the first request of each is refused as too many."""
    refused: set[str] = set()

    def answering(answer: dict[str, Any]) -> Callable[[Request], Any]:
        async def handle(request: Request) -> Response:
            if request.url.path in refused:
                return JSONResponse(answer)
            refused.add(request.url.path)
            return JSONResponse({}, 429, headers={"retry-after-ms": "1"})

        return handle

    paths = {"/chat/completions": OPENAI, "/v1/messages": ANTHROPIC}
    app = Starlette(
        routes=[Route(path, answering(paths[path]), methods=["POST"]) for path in paths]
    )
    app.add_middleware(RequestTracingMiddleware)
    return app


@pytest.fixture(autouse=True)
def take_back() -> Iterator[None]:
    yield
    uninstrument_httpx()


def ask_openai(sdk: Any, url: str) -> str:
    with sdk.OpenAI(api_key="k", base_url=url) as client:
        return (
            client.chat.completions.create(model="m", messages=ASK)
            .choices[0]
            .message.content
        )


def ask_openai_async(sdk: Any, url: str) -> str:
    async def ask() -> str:
        async with sdk.AsyncOpenAI(api_key="k", base_url=url) as client:
            answer = await client.chat.completions.create(model="m", messages=ASK)
            return answer.choices[0].message.content

    return asyncio.run(ask())


def ask_anthropic(sdk: Any, url: str) -> str:
    with sdk.Anthropic(api_key="k", base_url=url) as client:
        return (
            client.messages.create(model="m", max_tokens=9, messages=ASK)
            .content[0]
            .text
        )


def of_kind(spans: SpanRecorder, kind: str) -> list[Any]:
    return [span for span in spans if span.kind.name == kind]


@pytest.mark.promise("HTTP-13")
@pytest.mark.parametrize(
    ("sdk", "ask"), [("openai", ask_openai), ("openai", ask_openai_async)]
)
def test_each_attempt_of_an_sdk_reaches_the_server_in_the_trace(
    sdk: str,
    ask: Callable[[Any, str], str],
    serve: Callable[[Any], str],
    spans: SpanRecorder,
) -> None:
    """The refused request and the repeated one: a CLIENT span each, with the server's span below."""
    module = pytest.importorskip(sdk)
    instrument_httpx()
    assert ask(module, serve(provider())) == "Hello"
    received = wait_until(
        lambda: len(of_kind(spans, "SERVER")) == 2 and of_kind(spans, "SERVER")
    )
    sent = [span for span in of_kind(spans, "CLIENT") if span.name == "POST"]
    codes = [(span.attributes or {})["http.response.status_code"] for span in sent]
    assert codes == [429, 200]
    assert [span.parent.span_id for span in received if span.parent] == [
        span.context.span_id for span in sent
    ]


def anthropic_that_traces_itself() -> Any:
    sdk = pytest.importorskip("anthropic")
    if not hasattr(sdk, "_tracing"):
        pytest.skip("anthropic traces itself from 2.0 on")
    return sdk


@pytest.mark.promise("HTTP-14")
def test_the_span_of_an_sdk_that_traces_itself_is_the_only_one(
    serve: Callable[[Any], str], spans: SpanRecorder
) -> None:
    """Attempts and tokens are on it, and the server's spans are below it."""
    sdk = anthropic_that_traces_itself()
    instrument_httpx()
    assert ask_anthropic(sdk, serve(provider())) == "Hello"
    received = wait_until(
        lambda: len(of_kind(spans, "SERVER")) == 2 and of_kind(spans, "SERVER")
    )
    [sent] = of_kind(spans, "CLIENT")
    assert sent.attributes["http.request.resend_count"] == 1
    assert sent.attributes["http.response.status_code"] == 200
    assert sent.attributes["gen_ai.usage.output_tokens"] == 1
    parents = {span.parent.span_id for span in received if span.parent}
    assert parents == {sent.context.span_id}


@pytest.mark.promise("HTTP-14")
def test_a_call_that_trace_llm_has_opened_has_one_span(
    serve: Callable[[Any], str], spans: SpanRecorder
) -> None:
    """The SDK joins it: tokens are there once, by the conventions' names, and the owner decides on name, status and end."""
    sdk = anthropic_that_traces_itself()
    instrument_httpx()
    url = serve(provider())
    ask = trace_llm(provider="anthropic", model="m")(ask_anthropic)
    assert ask(sdk, url) == "Hello"
    [sent] = of_kind(spans, "CLIENT")
    assert (sent.name, sent.status.status_code) == ("chat m", StatusCode.UNSET)
    assert sent.attributes["gen_ai.usage.cache_creation.input_tokens"] == 2
    assert "gen_ai.usage.cache_write.input_tokens" not in sent.attributes
    assert sent.attributes["gen_ai.usage.input_tokens"] == 3
    assert sent.attributes["server.address"] == "127.0.0.1"


@pytest.mark.promise("HTTP-14")
def test_each_of_several_calls_is_counted_once(
    serve: Callable[[Any], str], spans: SpanRecorder
) -> None:
    """The first joins the span around them, and the others have their own; the answer's tokens are not counted again."""
    sdk = anthropic_that_traces_itself()
    url = serve(provider())

    @trace_llm(provider="anthropic", model="m")
    def ask_twice() -> Any:
        with sdk.Anthropic(api_key="k", base_url=url, max_retries=0) as client:
            with pytest.raises(sdk.RateLimitError):
                client.messages.create(model="m", max_tokens=9, messages=ASK)
            return client.messages.create(model="m", max_tokens=9, messages=ASK)

    ask_twice()
    around, own = sorted(of_kind(spans, "CLIENT"), key=lambda span: span.start_time)
    assert own.parent.span_id == around.context.span_id
    assert own.attributes["gen_ai.usage.output_tokens"] == 1
    assert "gen_ai.usage.output_tokens" not in around.attributes
    assert "error.type" not in around.attributes


@pytest.mark.promise("HTTP-14")
def test_its_requests_are_still_measured(serve: Callable[[Any], str]) -> None:
    """The duration of each request, as of any other client's."""
    sdk = anthropic_that_traces_itself()
    reader = InMemoryMetricReader()
    instrument_httpx(meter_provider=MeterProvider([reader]))
    with record_spans():
        ask_anthropic(sdk, serve(provider()))
    found = reader.get_metrics_data()
    [metric] = [
        metric
        for metric in found.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "http.client.request.duration"
    ]
    points = metric.data.data_points
    codes = {p.attributes["http.response.status_code"]: p.count for p in points}
    assert codes == {429: 1, 200: 1}
