"""The real clients of OpenAI and Anthropic, which send by httpx2 of late, against a server that speaks their formats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from obs_core.testing import SpanRecorder, wait_until
from obs_http import RequestTracingMiddleware, instrument_httpx, uninstrument_httpx
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
    "content": [{"type": "text", "text": "Hello"}], "usage": {"input_tokens": 1, "output_tokens": 1},
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
    ("sdk", "ask"),
    [
        ("openai", ask_openai),
        ("openai", ask_openai_async),
        ("anthropic", ask_anthropic),
    ],
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
