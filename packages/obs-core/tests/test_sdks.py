"""The real SDKs of Google, Mistral and LangChain, against a server that speaks their providers' protocols."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from obs_core import trace_llm
from obs_core.testing import SpanRecorder

from .llm_provider import GEMINI_MODEL, MISTRAL_MODEL, MODEL
from .test_trace_llm import CONTENT, MESSAGES, one, said

GEMINI = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "gcp.gemini",
    "gen_ai.request.model": "gemini-2.5-flash",
    "gen_ai.response.model": GEMINI_MODEL,
    "gen_ai.response.id": "gemini-1",
    "gen_ai.response.finish_reasons": ("STOP",),
    "gen_ai.usage.input_tokens": 9,
    "gen_ai.usage.output_tokens": 6,
    "gen_ai.usage.cache_read.input_tokens": 3,
    "gen_ai.usage.reasoning.output_tokens": 2,
    "gen_ai.usage.audio.input_tokens": 5,
}
MISTRAL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "mistral_ai",
    "gen_ai.request.model": "mistral-small",
    "gen_ai.response.model": MISTRAL_MODEL,
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.usage.input_tokens": 9,
    "gen_ai.usage.output_tokens": 4,
    "gen_ai.usage.cache_read.input_tokens": 3,
}


def streamed(whole: dict[str, Any], chunks: int) -> dict[str, Any]:
    """What the span of a stream has in addition."""
    return {
        **whole,
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": True,
        "obs.items.count": chunks,
        "obs.items.first_after": True,
    }


@pytest.fixture
def gemini(provider_url: str) -> Iterator[Any]:
    """Google's client of the server."""
    genai = pytest.importorskip("google.genai", reason="google-genai is not installed")
    with genai.Client(api_key="k", http_options={"base_url": provider_url}) as client:
        yield client


@pytest.mark.promise("CORE-48")
@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")
@pytest.mark.parametrize("way", ["whole", "stream", "async", "async_stream"])
def test_google_genai(spans: SpanRecorder, gemini: Any, way: str) -> None:
    """Thoughts are output, what was cached is input; each chunk tells the totals so far."""
    call = "generate_content_stream" if "stream" in way else "generate_content"
    models = gemini.aio.models if "async" in way else gemini.models

    @trace_llm(provider="gcp.gemini")
    def ask(model: str, contents: str) -> Any:
        return getattr(models, call)(model=model, contents=contents)

    async def ask_async() -> str:
        async with gemini.aio:
            answer = await ask("gemini-2.5-flash", "hi")
            if way == "async":
                return str(answer.text)
            return "".join([chunk.text async for chunk in answer])

    if "async" in way:
        text = asyncio.run(ask_async())
    else:
        answer = ask("gemini-2.5-flash", "hi")
        text = answer.text if way == "whole" else "".join(c.text for c in answer)
    assert text == "Hello"
    expected = streamed(GEMINI, 2) if "stream" in way else GEMINI
    assert said(one(spans, "chat gemini-2.5-flash")) == expected


@pytest.fixture
def mistral(provider_url: str) -> Iterator[Any]:
    """Mistral's client of the server."""
    sdk = pytest.importorskip("mistralai.client", reason="mistralai is not installed")
    with sdk.Mistral(api_key="k", server_url=provider_url + "/mistral") as client:
        yield client


def mistral_text(events: Any) -> str:
    return "".join(event.data.choices[0].delta.content or "" for event in events)


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize("way", ["whole", "stream", "async_stream"])
def test_mistral(
    spans: SpanRecorder, mistral: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stream's events wrap the chunks; text is recorded where it is asked for."""
    monkeypatch.setenv(CONTENT, "true")
    call = {"whole": "complete", "stream": "stream", "async_stream": "stream_async"}

    @trace_llm(provider="mistral_ai")
    def ask(model: str) -> Any:
        return getattr(mistral.chat, call[way])(model=model, messages=MESSAGES)

    async def ask_async() -> str:
        async with await ask("mistral-small") as events:
            return mistral_text([event async for event in events])

    if way == "async_stream":
        text = asyncio.run(ask_async())
    elif way == "stream":
        with ask("mistral-small") as events:
            text = mistral_text(events)
    else:
        text = ask("mistral-small").choices[0].message.content
    assert text == "Hello"
    told = said(one(spans, "chat mistral-small"))
    [message] = json.loads(told.pop("gen_ai.output.messages"))
    assert message["parts"] == [{"type": "text", "content": "Hello"}]
    assert told == (MISTRAL if way == "whole" else streamed(MISTRAL, 3))


@pytest.fixture
def mistral_that_traces_itself(mistral: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """From 3.0 it does so where it is asked to, and records what was said."""
    pytest.importorskip("mistralai.extra.observability.telemetry")
    monkeypatch.setenv("MISTRAL_SDK_TELEMETRY", "global")
    return mistral


@pytest.mark.promise("HTTP-14", "CORE-48")
@pytest.mark.parametrize("content", ["", "true"])
def test_mistrals_own_span_joins(
    spans: SpanRecorder,
    mistral_that_traces_itself: Any,
    content: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The call has one span, tokens once, and no word of what was said unless the user asks for it."""
    monkeypatch.setenv(CONTENT, content)
    client = mistral_that_traces_itself

    @trace_llm(provider="mistral_ai")
    def ask(model: str) -> Any:
        return client.chat.complete(model=model, messages=MESSAGES)

    assert ask("mistral-small").choices[0].message.content == "Hello"
    [span] = spans
    told = span.attributes or {}
    assert {key: told.get(key) for key in MISTRAL} == MISTRAL
    assert "agent.trace.public" in told
    assert ("my secret question" in str(told)) == (content == "true")


def langchain_openai() -> Any:
    return pytest.importorskip(
        "langchain_openai", reason="langchain-openai is not installed"
    )


@pytest.mark.promise("CORE-48")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
def test_langchain(spans: SpanRecorder, provider_url: str, way: str) -> None:
    """A model of LangChain's, whose answers tell usage in LangChain's names and in the provider's: once is enough."""
    http_client = openai.DefaultAsyncHttpxClient()
    model = langchain_openai().ChatOpenAI(
        model="gpt-4o-mini",
        api_key="k",
        base_url=provider_url + "/v1",
        max_retries=0,
        stream_usage=True,
        # its own one is kept for the next event loop
        http_async_client=http_client,
    )

    @trace_llm(provider="openai", model="gpt-4o-mini")
    def ask(question: str) -> Any:
        return getattr(model, way)(question)

    async def ask_async() -> list[Any]:
        async with http_client:
            if way == "ainvoke":
                return [await ask("hi")]
            return [chunk async for chunk in ask("hi")]

    if way.startswith("a"):
        answers = asyncio.run(ask_async())
    elif way == "stream":
        answers = list(ask("hi"))
    else:
        answers = [ask("hi")]
    assert "".join(each.content for each in answers) == "Hello"
    told = said(one(spans))
    assert told["gen_ai.response.model"] == MODEL
    assert told["gen_ai.response.finish_reasons"] == ("stop",)
    assert told["gen_ai.usage.input_tokens"] == 9
    assert told["gen_ai.usage.output_tokens"] == 4
    assert ("gen_ai.response.time_to_first_chunk" in told) == ("stream" in way)
