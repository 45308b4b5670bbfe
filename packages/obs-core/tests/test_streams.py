"""Answers that are read later, with the real SDKs: streams, their helpers, and responses whose body is read by the user."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import openai
import pytest
from obs_core import trace_llm
from obs_core.testing import SpanRecorder
from openai.lib.streaming.responses import ResponseStream

from .test_trace_llm import ANTHROPIC, CONTENT, MESSAGES, STREAMED, WHOLE, one, said

USAGE_LAST = {"include_usage": True}
CHAT: dict[str, Any] = {"model": "gpt-4o-mini", "messages": MESSAGES}
STREAM: dict[str, Any] = {**CHAT, "stream": True, "stream_options": USAGE_LAST}
CLAUDE: dict[str, Any] = {"model": "claude-x", "max_tokens": 16, "messages": MESSAGES}
KEYS = (
    "gen_ai.response.model",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
)


@asynccontextmanager
async def async_gpt(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=url + "/v1", api_key="k", max_retries=0
    ) as client:
        yield client


def chat_stream(client: Any) -> Any:
    """Open the chat API's stream helper, which was under ``beta`` before."""
    completions = client.chat.completions
    if not hasattr(completions, "stream"):
        completions = client.beta.chat.completions
    return completions.stream(**CHAT, stream_options=USAGE_LAST)


def traced(
    function: Callable[..., Any], provider: str = "openai"
) -> Callable[..., Any]:
    model = "gpt-4o-mini" if provider == "openai" else "claude-x"
    return trace_llm(function, provider=provider, model=model)


def answer_of(spans: SpanRecorder, provider: str = "openai") -> dict[str, Any]:
    """The attributes of the one span, without those of the request's arguments."""
    name = "chat gpt-4o-mini" if provider == "openai" else "chat claude-x"
    return said(one(spans, name))


@pytest.mark.promise("CORE-48")
def test_a_raw_response(spans: SpanRecorder, gpt: openai.OpenAI) -> None:
    """What `with_raw_response` gives is the SDK's own, and its span ends with the call."""
    raw = traced(lambda: gpt.chat.completions.with_raw_response.create(**CHAT))()
    assert said(one(spans)) == WHOLE
    assert raw.headers["content-type"] == "application/json"
    assert raw.parse().choices[0].message.content == "Hello"
    assert type(raw).__module__.startswith("openai.")


@pytest.mark.promise("CORE-48")
def test_a_raw_response_of_anthropic(
    spans: SpanRecorder, claude: anthropic.Anthropic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anthropic's SDK has them as well; text is recorded where it is asked for."""
    monkeypatch.setenv(CONTENT, "true")
    raw = traced(
        lambda: claude.messages.with_raw_response.create(**CLAUDE), "anthropic"
    )()
    told = answer_of(spans, "anthropic")
    expected = {
        key: value for key, value in ANTHROPIC.items() if "max_tokens" not in key
    }
    assert {key: told[key] for key in expected} == expected
    assert (
        json.loads(told["gen_ai.output.messages"])[0]["parts"][0]["content"] == "Hello"
    )
    assert raw.parse().content[0].text == "Hello"


@pytest.mark.promise("CORE-48")
def test_a_raw_response_that_is_a_stream(
    spans: SpanRecorder, gpt: openai.OpenAI
) -> None:
    """The span lasts to the end of the stream that it parses to, whatever becomes of the response itself."""
    raw = traced(lambda: gpt.chat.completions.with_raw_response.create(**STREAM))()
    assert raw.headers["content-type"] == "text/event-stream"
    stream = raw.parse()
    assert raw.parse() is stream
    assert isinstance(stream, openai.Stream)
    del raw
    gc.collect()
    assert len(spans) == 0
    assert len(list(stream)) == 5
    assert said(one(spans)) == STREAMED


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize("way", ["raw", "streaming"])
@pytest.mark.parametrize("asked", [CHAT, STREAM], ids=["whole", "stream"])
def test_async_responses(
    spans: SpanRecorder, provider_url: str, way: str, asked: dict[str, Any]
) -> None:
    """The async client's responses do the same, by each of the two ways to them."""

    async def read(parsed: Any) -> str:
        if asked is CHAT:
            return str(parsed.choices[0].message.content)
        chunks = [chunk async for chunk in parsed]
        return "".join(
            chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices
        )

    async def main() -> str:
        async with async_gpt(provider_url) as client:
            completions = client.chat.completions
            if way == "raw":
                raw = await traced(
                    lambda: completions.with_raw_response.create(**asked)
                )()
                return await read(raw.parse())
            make = traced(lambda: completions.with_streaming_response.create(**asked))
            async with make() as response:
                return await read(await response.parse())

    assert asyncio.run(main()) == "Hello"
    gc.collect()
    assert said(one(spans)) == (WHOLE if asked is CHAT else STREAMED)


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize("read", ["parse", "json", "read"])
def test_a_streaming_response(
    spans: SpanRecorder, gpt: openai.OpenAI, read: str
) -> None:
    """Nothing is read before the user does; once the body has been read, by whichever method, the answer is told."""
    make = traced(lambda: gpt.chat.completions.with_streaming_response.create(**CHAT))
    with make() as response:
        assert not response.http_response.is_stream_consumed
        assert len(spans) == 0
        getattr(response, read)()
    assert said(one(spans)) == WHOLE


@pytest.mark.promise("CORE-48")
def test_a_streaming_response_that_is_a_stream(
    spans: SpanRecorder, gpt: openai.OpenAI
) -> None:
    """Its stream is watched; the span ends with that, not later with the block."""
    make = traced(lambda: gpt.chat.completions.with_streaming_response.create(**STREAM))
    with make() as response:
        assert len(list(response.parse())) == 5
        assert len(spans) == 1
    assert said(one(spans)) == STREAMED


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize("ends", ["unread", "lines", "raises"])
def test_a_streaming_response_that_tells_nothing(
    spans: SpanRecorder, gpt: openai.OpenAI, ends: str
) -> None:
    """A body that is never read, or read past the SDK, ends its span with the block, and an error in it is one."""
    make = traced(lambda: gpt.chat.completions.with_streaming_response.create(**CHAT))
    if ends == "raises":
        with pytest.raises(ZeroDivisionError), make():
            1 / 0  # noqa: B018
    else:
        with make() as response:
            assert ends == "unread" or list(response.iter_lines())
    span = one(spans)
    assert span.status.is_unset == (ends != "raises")
    assert not [
        key for key in said(span) if key.startswith(("gen_ai.response", "obs.items"))
    ]


READS: dict[str, Callable[[Any], Any]] = {
    "final": lambda stream: stream.get_final_response().id,
    "until_done": lambda stream: stream.until_done() and "resp_1",
    "iterated": lambda stream: list(stream) and "resp_1",
    "peeked": lambda stream: next(stream) and stream.get_final_response().id,
}


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize("read", READS)
def test_the_responses_apis_helper(
    spans: SpanRecorder, gpt: openai.OpenAI, read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`responses.stream()` is seen however it is read, its methods included; what it opens is the SDK's own."""
    monkeypatch.setenv(CONTENT, "true")
    make = traced(lambda: gpt.responses.stream(model="gpt-4o-mini", input="hi"))
    with make() as stream:
        assert isinstance(stream, ResponseStream)
        assert type(stream).__qualname__ == ResponseStream.__qualname__
        assert len(spans) == 0
        assert READS[read](stream) == "resp_1"
        assert len(spans) == 1
    told = said(one(spans))
    assert {key: told[key] for key in KEYS} == {key: WHOLE[key] for key in KEYS}
    assert told["gen_ai.response.time_to_first_chunk"] is True
    assert (
        json.loads(told["gen_ai.output.messages"])[0]["parts"][0]["content"] == "Hello"
    )


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize("read", ["final", "iterated"])
@pytest.mark.parametrize("helper", ["responses", "chat"])
def test_the_async_helpers(
    spans: SpanRecorder, provider_url: str, helper: str, read: str
) -> None:
    """The async client's helpers do the same."""

    def make(client: openai.AsyncOpenAI) -> Any:
        if helper == "responses":
            return client.responses.stream(model="gpt-4o-mini", input="hi")
        return chat_stream(client)

    async def main() -> None:
        async with async_gpt(provider_url) as client, traced(make)(client) as stream:
            if read == "iterated":
                assert [event async for event in stream]
            elif helper == "responses":
                assert (await stream.get_final_response()).id == "resp_1"
            else:
                assert (await stream.get_final_completion()).id == "chatcmpl-1"
            assert len(spans) == 1

    asyncio.run(main())
    told = said(one(spans))
    assert {key: told[key] for key in KEYS} == {key: WHOLE[key] for key in KEYS}
    assert told["gen_ai.request.stream"] is True


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize("read", ["final", "until_done", "iterated"])
def test_the_chat_apis_helper(
    spans: SpanRecorder, gpt: openai.OpenAI, read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`chat.completions.stream()` likewise, with its text once."""
    monkeypatch.setenv(CONTENT, "true")
    make = traced(lambda: chat_stream(gpt))
    with make() as stream:
        if read == "final":
            assert stream.get_final_completion().choices[0].message.content == "Hello"
        elif read == "until_done":
            stream.until_done()
        else:
            assert list(stream)
    told = said(one(spans))
    expected = {
        key: value for key, value in WHOLE.items() if key.startswith("gen_ai.response")
    }
    assert {key: told[key] for key in expected} == expected
    assert {key: told[key] for key in KEYS} == {key: WHOLE[key] for key in KEYS}
    assert (
        json.loads(told["gen_ai.output.messages"])[0]["parts"][0]["content"] == "Hello"
    )


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize(
    "read", ["get_final_message", "get_final_text", "until_done", "text_stream"]
)
def test_anthropics_async_helper(
    spans: SpanRecorder, provider_url: str, read: str
) -> None:
    """Anthropic's async helper, by its methods and by its stream of texts."""

    async def main() -> None:
        async with anthropic.AsyncAnthropic(
            base_url=provider_url, api_key="k"
        ) as client:
            make = traced(lambda: client.messages.stream(**CLAUDE), "anthropic")
            async with make() as stream:
                if read == "text_stream":
                    assert [text async for text in stream.text_stream] == ["Hel", "lo"]
                else:
                    await getattr(stream, read)()
                assert len(spans.named("chat claude-x")) == 1

    asyncio.run(main())
    told = answer_of(spans, "anthropic")
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (
        9,
        4,
    )
    assert told["gen_ai.response.finish_reasons"] == ("end_turn",)
    assert told["gen_ai.response.time_to_first_chunk"] is True


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize("read", ["break", "next", "both"])
def test_a_stream_read_in_several_goes(
    spans: SpanRecorder, gpt: openai.OpenAI, read: str
) -> None:
    """Leaving a loop ends nothing; the rest of the stream is the same span's."""
    stream = traced(lambda: gpt.chat.completions.create(**STREAM))()
    if read != "next":
        for _ in stream:
            break
    if read != "break":
        next(stream)
    assert len(spans) == 0
    assert len(list(stream)) == (3 if read == "both" else 4)
    assert said(one(spans)) == STREAMED


@pytest.mark.promise("CORE-48")
def test_two_decorators_see_the_same_stream(
    spans: SpanRecorder, gpt: openai.OpenAI
) -> None:
    """A traced function that returns another's stream: both spans have the whole of it, whoever reads."""
    inner = traced(lambda: gpt.responses.stream(model="gpt-4o-mini", input="hi"))
    outer = trace_llm(lambda: inner(), provider="openai", model="outer")
    with outer() as stream:
        assert stream.get_final_response().id == "resp_1"
    told = [said(spans.one(name)) for name in ("chat gpt-4o-mini", "chat outer")]
    assert [[each[key] for key in KEYS] for each in told] == [
        [WHOLE[key] for key in KEYS]
    ] * 2
    assert spans.one("chat gpt-4o-mini").parent == spans.one("chat outer").context


class Both:
    """A stream that can be read in both ways, and takes items from itself."""

    def __init__(self) -> None:
        self.left = [
            {"usage": {"prompt_tokens": 9, "completion_tokens": n}} for n in (1, 4)
        ]

    def __iter__(self) -> Both:
        return self

    def __next__(self) -> dict[str, Any]:
        if not self.left:
            raise StopIteration
        return self.left.pop(0)

    def __aiter__(self) -> Both:
        return self

    async def __anext__(self) -> dict[str, Any]:
        for item in self:
            return item
        raise StopAsyncIteration


class Slotted(Both):
    """One whose class cannot be changed."""

    __slots__ = ("left",)


def generated() -> Iterator[dict[str, Any]]:
    yield from Both()


async def read_async(stream: Any) -> list[Any]:
    return [item async for item in stream]


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize("make", [Both, Slotted, generated])
@pytest.mark.parametrize("asynchronously", [False, True])
def test_streams_of_other_kinds(
    spans: SpanRecorder, make: Callable[[], Any], asynchronously: bool
) -> None:
    """Streams that can be read in both ways can still be, and a generator is a generator for whoever asks."""
    stream = traced(lambda: make())()
    assert isinstance(stream, type(make()))
    if asynchronously and make is generated:
        assert not hasattr(stream, "__aiter__")
        stream.close()
    else:
        items = asyncio.run(read_async(stream)) if asynchronously else list(stream)
        assert len(items) == 2
        assert said(one(spans))["gen_ai.usage.output_tokens"] == 4
    assert len(spans) == 1


@pytest.mark.promise("CORE-48")
def test_an_unsampled_answer_keeps_its_class(gpt: openai.OpenAI) -> None:
    """Nothing is changed in an answer whose call has no span."""
    stream = traced(lambda: gpt.chat.completions.create(**STREAM))()
    assert type(stream) is openai.Stream
    stream.close()
