"""`trace_llm`, with the real SDKs of OpenAI and Anthropic against a server that speaks their protocols."""

from __future__ import annotations

import asyncio
import gc
import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import openai
import pytest
import requests
from obs_core import trace_function, trace_llm
from obs_core.exceptions import ConfigurationError
from obs_core.testing import SpanRecorder, record_spans
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

from .llm_provider import MODEL, USAGE, anthropic_events

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
MESSAGES: list[Any] = [{"role": "user", "content": "my secret question"}]


def said(span: ReadableSpan) -> dict[str, Any]:
    """The attributes without the code's own; durations as True where they are plausible."""
    seconds = ("gen_ai.response.time_to_first_chunk", "obs.items.first_after")
    attributes = {
        key: value
        for key, value in (span.attributes or {}).items()
        if not key.startswith("code.")
    }
    return {
        key: 0 < value < 10 if key in seconds else value
        for key, value in attributes.items()
    }


ASKED = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
}
WHOLE = {
    **ASKED,
    "gen_ai.response.model": MODEL,
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.usage.input_tokens": 9,
    "gen_ai.usage.output_tokens": 4,
}
STREAMED = {
    **WHOLE,
    "gen_ai.request.stream": True,
    "gen_ai.response.time_to_first_chunk": True,
    "obs.items.count": 5,
    "obs.items.first_after": True,
}
ANTHROPIC = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-x",
    "gen_ai.request.max_tokens": 16,
    "gen_ai.response.model": "claude-x-1",
    "gen_ai.response.id": "msg_1",
    "gen_ai.response.finish_reasons": ("end_turn",),
    "gen_ai.usage.input_tokens": 9,
    "gen_ai.usage.output_tokens": 4,
}


def one(spans: SpanRecorder, name: str = "chat gpt-4o-mini") -> ReadableSpan:
    span = spans.one(name)
    assert span.kind is trace.SpanKind.CLIENT
    return span


@pytest.mark.promise("CORE-48")
def test_a_whole_answer(spans: SpanRecorder, gpt: openai.OpenAI) -> None:
    """Model, id, reason and tokens of a plain call; a span that the SDK's HTTP client would make is its child."""

    @trace_llm(provider="openai", model="gpt-4o-mini")
    def ask() -> Any:
        with trace.get_tracer("http").start_as_current_span("POST"):
            return gpt.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)

    assert ask().choices[0].message.content == "Hello"
    assert said(one(spans)) == WHOLE
    spans.assert_tree("\nchat gpt-4o-mini [CLIENT]\n  POST [INTERNAL]")


@pytest.mark.promise("CORE-48")
def test_a_whole_answer_async(spans: SpanRecorder, provider_url: str) -> None:
    """The same for an async call, its model taken from the call's argument."""

    @trace_llm(provider="openai")
    async def ask(
        client: openai.AsyncOpenAI, *, model: str, temperature: float = 0.5
    ) -> Any:
        return await client.chat.completions.create(
            model=model, messages=MESSAGES, temperature=temperature
        )

    async def main() -> None:
        async with openai.AsyncOpenAI(
            base_url=provider_url + "/v1", api_key="k"
        ) as client:
            assert (await ask(client, model="gpt-4o-mini")).model == MODEL

    asyncio.run(main())
    assert said(one(spans)) == {**WHOLE, "gen_ai.request.temperature": 0.5}


def _create_stream(client: openai.OpenAI) -> Any:
    options = {"include_usage": True}
    return client.chat.completions.create(
        model="gpt-4o-mini", messages=MESSAGES, stream=True, stream_options=options
    )  # type: ignore[call-overload]


@pytest.mark.promise("CORE-48")
def test_a_returned_stream(spans: SpanRecorder, gpt: openai.OpenAI) -> None:
    """The span lasts until the last chunk; the stream keeps its type, its attributes and its context manager."""
    ask = trace_llm(_create_stream, provider="openai", model="gpt-4o-mini")
    stream = ask(gpt)
    assert isinstance(stream, openai.Stream)
    assert stream.response.status_code == 200
    assert len(spans) == 0
    with stream as entered:
        text = ""
        for chunk in entered:
            with trace.get_tracer("consumer").start_as_current_span("use"):
                text += chunk.choices[0].delta.content or "" if chunk.choices else ""
    assert text == "Hello"
    assert said(one(spans)) == STREAMED
    assert {span.parent for span in spans.named("use")} == {None}


@pytest.mark.promise("CORE-48")
def test_a_returned_async_stream(spans: SpanRecorder, provider_url: str) -> None:
    """The same for an async stream."""

    @trace_llm(provider="openai", model="gpt-4o-mini")
    async def ask(client: openai.AsyncOpenAI) -> Any:
        options = {"include_usage": True}
        return await client.chat.completions.create(
            model="gpt-4o-mini", messages=MESSAGES, stream=True, stream_options=options  # type: ignore[call-overload]
        )  # fmt: skip

    async def main() -> None:
        async with openai.AsyncOpenAI(
            base_url=provider_url + "/v1", api_key="k"
        ) as client:
            stream = await ask(client)
            assert isinstance(stream, openai.AsyncStream)
            async with stream:
                assert len([chunk async for chunk in stream]) == 5

    asyncio.run(main())
    assert said(one(spans)) == STREAMED


@pytest.mark.promise("CORE-48")
def test_generators_that_yield_chunks(
    spans: SpanRecorder, gpt: openai.OpenAI, provider_url: str
) -> None:
    """A generator, or an async one, that passes the chunks on is read as they pass."""

    @trace_llm(provider="openai", model="gpt-4o-mini")
    def ask() -> Iterator[Any]:
        yield from _create_stream(gpt)

    @trace_llm(provider="openai", model="gpt-4o-mini")
    async def ask_async() -> AsyncIterator[Any]:
        async with openai.AsyncOpenAI(
            base_url=provider_url + "/v1", api_key="k"
        ) as client:
            options = {"include_usage": True}
            stream = await client.chat.completions.create(
                model="gpt-4o-mini", messages=MESSAGES, stream=True, stream_options=options  # type: ignore[call-overload]
            )  # fmt: skip
            async for chunk in stream:
                yield chunk

    async def main() -> int:
        return len([chunk async for chunk in ask_async()])

    assert len(list(ask())) == asyncio.run(main()) == 5
    assert [said(span) for span in spans.named("chat gpt-4o-mini")] == [
        STREAMED,
        STREAMED,
    ]


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize("leave", ["close", "drop", "exit", "raise"])
def test_a_stream_left_early(
    spans: SpanRecorder, gpt: openai.OpenAI, leave: str
) -> None:
    """Closed, dropped or left by its context manager, the span ends with what was seen; an error inside the block is one."""
    stream = trace_llm(_create_stream, provider="openai", model="gpt-4o-mini")(gpt)
    next(stream)
    assert len(spans) == 0
    if leave == "close":
        stream.close()
    elif leave == "drop":
        response = stream.response
        del stream
        gc.collect()
        response.close()
    elif leave == "exit":
        with stream:
            pass
    else:
        with pytest.raises(ZeroDivisionError), stream:
            1 / 0  # noqa: B018
    span = one(spans)
    assert said(span)["obs.items.count"] == 1
    assert span.status.is_unset == (leave != "raise")


@pytest.mark.promise("CORE-48")
def test_the_stream_of_the_responses_api(
    spans: SpanRecorder, gpt: openai.OpenAI
) -> None:
    """OpenAI's newer API tells usage in its last event."""

    @trace_llm(provider="openai", model="gpt-4o-mini", operation="chat")
    def ask() -> Any:
        return gpt.responses.create(model="gpt-4o-mini", input="hi", stream=True)

    assert len(list(ask())) == 6
    expected = {
        **STREAMED,
        "gen_ai.response.id": "resp_1",
        "obs.items.count": 6,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": 0,
    }
    del expected["gen_ai.response.finish_reasons"]
    assert said(one(spans)) == expected


@pytest.mark.promise("CORE-48")
def test_an_error_of_the_provider(spans: SpanRecorder, gpt: openai.OpenAI) -> None:
    """The SDK's own exception passes through and is recorded once."""

    @trace_llm(provider="openai")
    def ask(model: str) -> Any:
        return gpt.chat.completions.create(model=model, messages=MESSAGES)

    with pytest.raises(openai.NotFoundError):
        ask("missing")
    span = one(spans, "chat missing")
    assert (
        said(span)["error.type"] == f"{openai.NotFoundError.__module__}.NotFoundError"
    )
    assert [event.name for event in span.events] == ["exception"]


@pytest.mark.promise("CORE-48")
def test_anthropic(spans: SpanRecorder, claude: anthropic.Anthropic) -> None:
    """Anthropic's answer; cached input tokens count as input, as the conventions have it.

    From 2.0 on the SDK adds more to the span, which it joins.
    """

    @trace_llm(provider="anthropic")
    def ask(model: str, max_tokens: int, stream: bool) -> Any:
        return claude.messages.create(
            model=model, max_tokens=max_tokens, messages=MESSAGES, stream=stream
        )

    assert ask("claude-x", 16, False).content[0].text == "Hello"
    assert said(one(spans, "chat claude-x")).items() >= ANTHROPIC.items()
    spans.clear()
    assert len(list(ask("claude-x", 16, True))) == 7
    expected = {**ANTHROPIC, **STREAMED, **ANTHROPIC, "obs.items.count": 7}
    told = said(one(spans, "chat claude-x"))
    assert {key: told.get(key) for key in expected} == expected


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize("use", ["text_stream", "events", "final"])
def test_anthropics_stream_manager(
    spans: SpanRecorder,
    claude: anthropic.Anthropic,
    use: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`messages.stream()` opens its stream on entering; however it is read, usage and text are told."""
    monkeypatch.setenv(CONTENT, "true")

    @trace_llm(provider="anthropic", model="claude-x")
    def ask(max_tokens: int) -> Any:
        return claude.messages.stream(
            model="claude-x", max_tokens=max_tokens, messages=MESSAGES
        )

    with ask(16) as stream:
        assert len(spans) == 0
        if use == "text_stream":
            assert list(stream.text_stream) == ["Hel", "lo"]
        elif use == "events":
            assert len(list(stream)) > 7
        assert stream.get_final_message().content[0].text == "Hello"
    told = said(one(spans, "chat claude-x"))
    assert {key: told[key] for key in ANTHROPIC} == ANTHROPIC
    assert json.loads(told["gen_ai.output.messages"])[0]["parts"] == [
        {"type": "text", "content": "Hello"}
    ]


def _bedrock_events() -> Iterator[dict[str, Any]]:
    yield {"messageStart": {"role": "assistant"}}
    yield {"contentBlockDelta": {"delta": {"text": "Hel"}, "contentBlockIndex": 0}}
    yield {"contentBlockDelta": {"delta": {"text": "lo"}, "contentBlockIndex": 0}}
    yield {"messageStop": {"stopReason": "end_turn"}}
    yield {
        "metadata": {
            "usage": {"inputTokens": 9, "outputTokens": 4, "totalTokens": 13},
            "metrics": {"latencyMs": 1},
        }
    }


def _invoke_events() -> Iterator[dict[str, Any]]:
    for event in anthropic_events():
        yield {"chunk": {"bytes": json.dumps(event).encode()}}


_CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 9, "outputTokens": 4, "totalTokens": 13},
}
_HEADERS = {
    "HTTPHeaders": {
        "x-amzn-bedrock-input-token-count": "9",
        "x-amzn-bedrock-output-token-count": "4",
    }
}
_GEMINI = {
    "candidates": [
        {"content": {"parts": [{"text": "Hello"}]}, "finishReason": "end_turn"}
    ],
    "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4},
}
_OLLAMA = {
    "message": {"content": "Hello"},
    "done_reason": "end_turn",
    "prompt_eval_count": 9,
    "eval_count": 4,
}
_DICT = {
    "choices": [{"message": {"content": "Hello"}, "finish_reason": "end_turn"}],
    "usage": USAGE,
}


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize(
    ("answer", "reasons"),
    [
        (lambda: _CONVERSED, ("end_turn",)),
        (lambda: {"body": "…", "ResponseMetadata": _HEADERS}, None),
        (lambda: _GEMINI, ("end_turn",)),
        (lambda: _OLLAMA, ("end_turn",)),
        (lambda: _DICT, ("end_turn",)),
        (lambda: {"stream": _bedrock_events(), "ResponseMetadata": {}}, ("end_turn",)),
        (lambda: {"body": _invoke_events(), "ResponseMetadata": {}}, ("end_turn",)),
    ],
    ids=[
        "converse",
        "invoke",
        "gemini",
        "ollama",
        "dict",
        "converse_stream",
        "invoke_stream",
    ],
)
def test_other_shapes(
    spans: SpanRecorder, answer: Any, reasons: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bedrock's dicts and event streams, Gemini, Ollama, OpenAI-like dicts."""
    monkeypatch.setenv(CONTENT, "true")

    @trace_llm(provider="aws.bedrock")
    def ask(modelId: str) -> Any:
        return answer()

    got = ask(modelId="m-1")
    for key in ("stream", "body"):
        list(got.get(key, ()))
    told = said(one(spans, "chat m-1"))
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (
        9,
        4,
    )
    assert told.get("gen_ai.response.finish_reasons") == reasons
    if reasons:
        assert json.loads(told["gen_ai.output.messages"])[0]["parts"] == [
            {"type": "text", "content": "Hello"}
        ]


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize(
    ("switch", "on"),
    [
        (None, False),
        ("false", False),
        ("event_only", False),
        ("true", True),
        ("SPAN_ONLY", True),
    ],
)
def test_content_only_when_switched_on(
    spans: SpanRecorder,
    gpt: openai.OpenAI,
    switch: str | None,
    on: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was asked and answered is on the span only where the user says so."""
    monkeypatch.delenv(CONTENT, raising=False)
    if switch:
        monkeypatch.setenv(CONTENT, switch)

    @trace_llm(provider="openai", model="gpt-4o-mini")
    def ask(messages: Any, system: str) -> Any:
        return _create_stream(gpt)

    list(ask(MESSAGES, system="Be brief."))
    told = {
        key: json.loads(value)
        for key, value in said(one(spans)).items()
        if "messages" in key or "instructions" in key
    }
    assert told == (
        {
            "gen_ai.input.messages": [
                {
                    "role": "user",
                    "parts": [{"type": "text", "content": "my secret question"}],
                }
            ],
            "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
            "gen_ai.output.messages": [
                {
                    "role": "assistant",
                    "parts": [{"type": "text", "content": "Hello"}],
                    "finish_reason": "stop",
                }
            ],
        }
        if on
        else {}
    )


@pytest.mark.promise("CORE-48")
def test_an_unsampled_stream_is_handed_through() -> None:
    """Nothing is wrapped where nothing is recorded, as a root or below one."""
    stream = iter([1])

    @trace_llm(provider="openai", model="m")
    def ask() -> Any:
        return stream

    with record_spans(sampling_rate=0.0):
        assert ask() is stream
        assert trace_function(ask)() is stream


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize(
    "answer",
    [
        None,
        3,
        "text",
        [],
        {},
        object(),
        {"usage": 7, "choices": 3, "model": 4},
        {"choices": [None]},
        io.BytesIO(b"{}"),
        requests.Response(),
    ],
)
def test_any_other_answer_passes(spans: SpanRecorder, answer: Any) -> None:
    """An answer that says nothing costs nothing; a file or a bare HTTP response is no stream of chunks."""
    assert trace_llm(lambda: answer, provider="x", model="m")() is answer
    assert said(one(spans, "chat m")) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "x",
        "gen_ai.request.model": "m",
    }


@pytest.mark.promise("CORE-48")
def test_malformed_options_are_rejected() -> None:
    """A provider is needed, and names are text."""
    options: Any
    for options in (
        {"provider": ""},
        {"provider": None},
        {"provider": "x", "operation": ""},
        {"provider": "x", "model": ""},
    ):
        with pytest.raises(ConfigurationError, match="is no name"):
            trace_llm(**options)
