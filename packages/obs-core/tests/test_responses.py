"""How many tokens a call took: the provider's own totals, by the shape that its SDK, or a library on top, tells them in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from obs_core import trace_llm
from obs_core.testing import SpanRecorder

HEADERS = {
    "x-amzn-bedrock-input-token-count": "4",
    "x-amzn-bedrock-output-token-count": "9",
    "x-amzn-bedrock-cache-read-input-token-count": "100",
    "x-amzn-bedrock-cache-write-input-token-count": "6",
}
METRICS = {
    "inputTokenCount": 4,
    "outputTokenCount": 9,
    "cacheReadInputTokenCount": 100,
    "cacheWriteInputTokenCount": 6,
}


def tokens(spans: SpanRecorder, answer: Callable[[], Any]) -> tuple[object, object]:
    """Return the span's counts of input and output tokens of a call that returns what `answer` does."""
    got = trace_llm(answer, provider="p", model="m")()
    for entry in (got, *(got.values() if isinstance(got, dict) else ())):
        if isinstance(entry, Iterator):
            list(entry)
    (span,) = spans.named("chat m")
    attributes = span.attributes or {}
    return attributes.get("gen_ai.usage.input_tokens"), attributes.get(
        "gen_ai.usage.output_tokens"
    )


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"usage": {"input_tokens": 4, "output_tokens": 9, "cache_read_input_tokens": 100,
                    "cache_creation_input_tokens": 6}}, (110, 9)),
        ({"usage": {"input_tokens": 4, "output_tokens": 9, "cache_read_input_tokens": None}}, (4, 9)),
        ({"usage": {"prompt_tokens": 110, "completion_tokens": 9, "cache_read_input_tokens": 100,
                    "cache_creation_input_tokens": 6}}, (110, 9)),
        ({"usage": {"prompt_tokens": 110, "completion_tokens": 9,
                    "prompt_tokens_details": {"cached_tokens": 100}}}, (110, 9)),
        ({"usage": {"input_tokens": 110, "output_tokens": 9,
                    "input_tokens_details": {"cached_tokens": 100}}}, (110, 9)),
        ({"usage": {"inputTokens": 4, "outputTokens": 9, "totalTokens": 119,
                    "cacheReadInputTokens": 100, "cacheWriteInputTokens": 6}}, (110, 9)),
        ({"ResponseMetadata": {"HTTPHeaders": HEADERS}}, (110, 9)),
        ({"amazon-bedrock-invocationMetrics": METRICS}, (110, 9)),
        ({"usageMetadata": {"promptTokenCount": 100, "toolUsePromptTokenCount": 10,
                            "cachedContentTokenCount": 90, "candidatesTokenCount": 5,
                            "thoughtsTokenCount": 4, "totalTokenCount": 119}}, (110, 9)),
        ({"usage_metadata": SimpleNamespace(prompt_token_count=110, candidates_token_count=5,
                                            thoughts_token_count=4, total_token_count=119)}, (110, 9)),
        ({"prompt_eval_count": 110, "eval_count": 9}, (110, 9)),
    ],
    ids=["anthropic", "anthropic-none", "litellm", "openai", "responses", "converse", "headers", "metrics",
         "gemini-json", "gemini", "ollama"],
)  # fmt: skip
def test_cached_tokens_count_once(
    spans: SpanRecorder, usage: dict[str, Any], counts: tuple[int, int]
) -> None:
    """What was cached is input, added where the provider tells it beside and not where it is told within."""
    assert tokens(spans, lambda: usage) == counts


@pytest.mark.promise("CORE-48")
def test_the_last_chunk_of_invoke_model(spans: SpanRecorder) -> None:
    """Bedrock's metrics at the end of a stream count what was cached, as the model's own events do."""
    start = {"input_tokens": 4, "output_tokens": 1, "cache_read_input_tokens": 100}
    events = [
        {"type": "message_start", "message": {"usage": {**start, "cache_creation_input_tokens": 6}}},
        {"type": "message_delta", "usage": {"output_tokens": 9}},
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": METRICS},
    ]  # fmt: skip
    chunks = [{"chunk": {"bytes": json.dumps(event).encode()}} for event in events]
    assert tokens(spans, lambda: {"body": iter(chunks)}) == (110, 9)


@pytest.mark.promise("CORE-48")
def test_running_totals_of_a_stream(spans: SpanRecorder) -> None:
    """Where each chunk tells the total so far, the last is the total."""
    chunks = [
        {"usage": {"prompt_tokens": 12, "completion_tokens": count}}
        for count in (1, 5, 9)
    ]
    assert tokens(spans, lambda: iter(chunks)) == (12, 9)


def _langchain() -> Any:
    return pytest.importorskip(
        "langchain_core.messages", reason="LangChain is not installed"
    )


def _chunk(input_tokens: int, output_tokens: int, **metadata: Any) -> Any:
    usage = {"input_tokens": input_tokens, "output_tokens": output_tokens}
    return _langchain().AIMessageChunk(
        content="a",
        usage_metadata={**usage, "total_tokens": input_tokens + output_tokens},
        response_metadata=metadata,
    )


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize("as_generation", [False, True])
def test_langchains_chunks_are_added_up(
    spans: SpanRecorder, as_generation: bool
) -> None:
    """A LangChain chunk tells what it adds; a whole that LangChain has added up tells its sum."""
    running = {"token_usage": {"prompt_tokens": 12, "completion_tokens": 21}}
    chunks = [
        _chunk(12, 10),
        _chunk(0, 11, **running),
        _chunk(0, 4, finish_reason="STOP"),
    ]
    if as_generation:
        from langchain_core.outputs import ChatGenerationChunk

        generations = [ChatGenerationChunk(message=chunk) for chunk in chunks]
        assert tokens(spans, lambda: iter(generations)) == (12, 25)
    else:
        assert tokens(spans, lambda: iter(chunks)) == (12, 25)
    spans.clear()
    whole = chunks[0] + chunks[1] + chunks[2]
    usage = whole.usage_metadata
    assert tokens(spans, lambda: whole) == (
        usage["input_tokens"],
        usage["output_tokens"],
    )


@pytest.mark.promise("CORE-48")
def test_a_langchain_message(spans: SpanRecorder) -> None:
    """A whole message tells its usage twice, in LangChain's names and the provider's: once is enough."""
    provider = {"input_tokens": 4, "output_tokens": 9, "cache_read_input_tokens": 106}
    usage = {"input_tokens": 110, "output_tokens": 9, "total_tokens": 119}
    message = _langchain().AIMessage(
        "a",
        usage_metadata={**usage, "input_token_details": {"cache_read": 106}},
        response_metadata={"usage": provider, "model": "claude"},
    )
    assert tokens(spans, lambda: message) == (110, 9)


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> Any:
    """LiteLLM, which else fetches a list of prices as it is imported."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    return pytest.importorskip("litellm", reason="LiteLLM is not installed")


@pytest.mark.promise("CORE-48")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("stream", [False, True])
def test_litellm_against_anthropics_api(
    spans: SpanRecorder, litellm: Any, provider_url: str, stream: bool
) -> None:
    """LiteLLM adds what was cached to the prompt's tokens and tells it once more; its total counts, read by a loop or not."""

    @trace_llm(provider="anthropic", model="m")
    def ask() -> Any:
        return litellm.completion(
            model="anthropic/claude-x",
            messages=[{"role": "user", "content": "hi"}],
            api_key="k",
            api_base=provider_url + "/v1/messages",
            stream=stream,
            stream_options={"include_usage": True} if stream else None,
            num_retries=0,
        )

    answer = ask()
    if stream:
        assert isinstance(answer, litellm.CustomStreamWrapper)
        chunks = list(answer)
        text = "".join(
            each.choices[0].delta.content or "" for each in chunks if each.choices
        )
        usage = next(
            each.usage for each in reversed(chunks) if getattr(each, "usage", None)
        )
    else:
        text, usage = answer.choices[0].message.content, answer.usage
    assert text == "Hello"
    (span,) = spans.named("chat m")
    attributes = span.attributes or {}
    assert usage.prompt_tokens < 5 + 2 * (3 + 1)
    assert attributes["gen_ai.usage.input_tokens"] == usage.prompt_tokens
    assert attributes["gen_ai.usage.output_tokens"] == usage.completion_tokens == 4
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
