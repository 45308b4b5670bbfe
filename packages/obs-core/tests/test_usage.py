"""Tokens that are reported apart inside a total: cached, reasoning and audio, by the shape that each provider tells them in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from obs_core import trace_llm
from obs_core.testing import SpanRecorder

PREFIX = "gen_ai.usage."
CACHE_READ = "cache_read.input_tokens"
CACHE_CREATION = "cache_creation.input_tokens"
REASONING = "reasoning.output_tokens"
AUDIO_INPUT = "audio.input_tokens"
AUDIO_OUTPUT = "audio.output_tokens"


def usage_of(spans: SpanRecorder, answer: Any) -> dict[str, Any]:
    """Return the counts on the span of a call that returns `answer`."""
    trace_llm(lambda: answer, provider="p", model="m")()
    attributes = spans.one("chat m").attributes or {}
    return {
        key[len(PREFIX) :]: value
        for key, value in attributes.items()
        if key.startswith(PREFIX)
    }


def modalities(**counts: int) -> list[dict[str, Any]]:
    return [{"modality": name, "tokenCount": count} for name, count in counts.items()]


OPENAI = {
    "prompt_tokens": 110,
    "completion_tokens": 9,
    "prompt_tokens_details": {
        "cached_tokens": 100,
        "audio_tokens": 3,
        "cache_write_tokens": 6,
    },
    "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 2},
}
RESPONSES = {
    "input_tokens": 110,
    "output_tokens": 9,
    "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 6},
    "output_tokens_details": {"reasoning_tokens": 5},
}
ANTHROPIC = {
    "input_tokens": 4,
    "output_tokens": 9,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 6,
    "output_tokens_details": SimpleNamespace(thinking_tokens=5),
}
CONVERSE = {
    "inputTokens": 4,
    "outputTokens": 9,
    "cacheReadInputTokens": 100,
    "cacheWriteInputTokens": 6,
}
METRICS = {
    "inputTokenCount": 4,
    "outputTokenCount": 9,
    "cacheReadInputTokenCount": 100,
    "cacheWriteInputTokenCount": 6,
}
HEADERS = {
    "x-amzn-bedrock-input-token-count": "4",
    "x-amzn-bedrock-output-token-count": "9",
    "x-amzn-bedrock-cache-read-input-token-count": "100",
    "x-amzn-bedrock-cache-write-input-token-count": "6",
}
GEMINI = {
    "promptTokenCount": 110,
    "cachedContentTokenCount": 100,
    "candidatesTokenCount": 4,
    "thoughtsTokenCount": 5,
    "promptTokensDetails": modalities(TEXT=107, AUDIO=3),
    "candidatesTokensDetails": modalities(AUDIO=2, TEXT=2),
}
LANGCHAIN = {
    "input_tokens": 110,
    "output_tokens": 9,
    "input_token_details": {"cache_read": 100, "cache_creation": 6, "audio": 3},
    "output_token_details": {"reasoning": 5, "audio": 2},
}
TOTALS = {"input_tokens": 110, "output_tokens": 9}
CACHED = {CACHE_READ: 100, CACHE_CREATION: 6}
AUDIO = {AUDIO_INPUT: 3, AUDIO_OUTPUT: 2}


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize(
    ("answer", "apart"),
    [
        ({"usage": OPENAI}, {**CACHED, REASONING: 5, **AUDIO}),
        ({"usage": RESPONSES}, {**CACHED, REASONING: 5}),
        ({"usage": ANTHROPIC}, {**CACHED, REASONING: 5}),
        ({"usage": CONVERSE}, CACHED),
        ({"amazon-bedrock-invocationMetrics": METRICS}, CACHED),
        ({"ResponseMetadata": {"HTTPHeaders": HEADERS}}, CACHED),
        ({"usageMetadata": GEMINI}, {CACHE_READ: 100, REASONING: 5, **AUDIO}),
        ({"usage_metadata": LANGCHAIN}, {**CACHED, REASONING: 5, **AUDIO}),
        ({"usage": TOTALS}, {}),
    ],
    ids=["openai", "responses", "anthropic", "converse", "metrics", "headers", "gemini", "langchain", "totals"],
)  # fmt: skip
def test_what_is_told_apart(
    spans: SpanRecorder, answer: dict[str, Any], apart: dict[str, int]
) -> None:
    """Each count has an attribute of its own, and stays within the total; what the provider does not tell has none."""
    assert usage_of(spans, answer) == {**TOTALS, **apart}


@pytest.mark.promise("CORE-48")
@pytest.mark.parametrize(
    "details",
    [
        None,
        {"cached_tokens": None, "audio_tokens": True},
        {"cached_tokens": "many", "audio_tokens": -1.5},
        ["cached_tokens"],
        [{"modality": "AUDIO"}, "AUDIO", None],
    ],
    ids=["none", "empty", "words", "list", "modalities"],
)
def test_details_of_any_form_do_no_harm(spans: SpanRecorder, details: Any) -> None:
    """What is no count is left out, and the totals are still told."""
    usage = {"prompt_tokens": 110, "completion_tokens": 9}
    answer = {"usage": {**usage, "prompt_tokens_details": details}}
    assert usage_of(spans, answer) == TOTALS
