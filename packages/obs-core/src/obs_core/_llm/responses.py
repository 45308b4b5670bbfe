"""What a model's answer says about itself, read by duck typing from the shapes that the providers' SDKs return."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# The names by which OpenAI, Anthropic, Bedrock, Gemini, Ollama and LangChain call the same thing; the first found counts.
_MODEL = ("model", "model_version", "modelVersion", "model_name")
_ID = ("id", "response_id", "responseId")
_FINISH = ("finish_reason", "stop_reason", "stopReason", "finishReason", "done_reason")
_CHOICES = ("choices", "candidates")
_USAGE = (
    "usage",
    "usage_metadata",
    "usageMetadata",
    "amazon-bedrock-invocationMetrics",
    "token_usage",
)
_INPUT = (
    "prompt_tokens",
    "input_tokens",
    "inputTokens",
    "prompt_token_count",
    "promptTokenCount",
    "inputTokenCount",
)
_OUTPUT = (
    "completion_tokens",
    "output_tokens",
    "outputTokens",
    "candidates_token_count",
    "candidatesTokenCount",
    "outputTokenCount",
)
_OLLAMA_INPUT, _OLLAMA_OUTPUT = ("prompt_eval_count",), ("eval_count",)
_CACHED = ("cache_read_input_tokens", "cache_creation_input_tokens")
_NESTED = (
    "message",
    "response",
    "delta",
    "messageStop",
    "metadata",
    "response_metadata",
    "contentBlockDelta",
    "output",
)


class Reading:
    """Gathers model, id, finish reasons and token counts from a whole answer or from its chunks, in any order.

    Attributes:
        text: The answer's text, only where `keep_text`; at most 32 KiB.
    """

    __slots__ = (
        "finish_reasons",
        "id",
        "input_tokens",
        "keep_text",
        "model",
        "output_tokens",
        "text",
    )

    def __init__(self, *, keep_text: bool = False) -> None:
        self.keep_text = keep_text
        self.model: str | None = None
        self.id: str | None = None
        self.finish_reasons: list[str] = []
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.text = ""

    def take(self, piece: object) -> None:
        """Read a whole answer, or one chunk of it."""
        piece = _decoded(piece)
        if self.keep_text and len(self.text) < 32 * 1024:
            self.text += _text(piece, whole_too=not self.text)
        for part in (piece, *(get(piece, name) for name in _NESTED)):
            self._take_part(part)
        headers = get(get(piece, "ResponseMetadata"), "HTTPHeaders")
        self._count(
            headers, ("x-amzn-bedrock-input-token-count",), ("x-amzn-bedrock-output-token-count",)
        )

    def _take_part(self, part: object) -> None:
        if part is None or isinstance(part, str):
            return
        self.model = first_text(part, _MODEL) or self.model
        self.id = self.id or first_text(part, _ID)
        self._finish(part)
        for choice in _all(part, _CHOICES):
            self._finish(choice)
        for name in _USAGE:
            self._count(get(part, name), _INPUT, _OUTPUT)
        self._count(part, _OLLAMA_INPUT, _OLLAMA_OUTPUT)

    def _finish(self, part: object) -> None:
        reason = next((value for name in _FINISH if (value := get(part, name)) is not None), None)
        told = getattr(reason, "name", reason)
        if isinstance(told, str) and told not in self.finish_reasons:
            self.finish_reasons.append(told)

    def _count(self, usage: object, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        if usage is None:
            return
        # counts in a stream are running totals, so the highest is the last word
        taken, given = _first_count(usage, inputs), _first_count(usage, outputs)
        if taken is not None:
            cached = sum(_first_count(usage, (name,)) or 0 for name in _CACHED)
            self.input_tokens = max(taken + cached, self.input_tokens or 0)
        if given is not None:
            self.output_tokens = max(given, self.output_tokens or 0)


def get(part: object, name: str) -> Any:
    """Return `part`'s entry or attribute `name`, or None."""
    return part.get(name) if isinstance(part, Mapping) else getattr(part, name, None)


def first_text(part: object, names: Sequence[str]) -> str | None:
    """Return the first of `part`'s entries `names` that is text."""
    return next(
        (value for name in names if isinstance(value := get(part, name), str) and value), None
    )


def _first_count(usage: object, names: Sequence[str]) -> int | None:
    for name in names:
        value = get(usage, name)
        if isinstance(value, str) and value.isdecimal():
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _all(part: object, names: Sequence[str]) -> Iterator[object]:
    for name in names:
        found = get(part, name)
        if isinstance(found, (list, tuple)):
            yield from found


def _decoded(piece: object) -> object:
    """Return the JSON inside a chunk of Bedrock's ``invoke_model_with_response_stream``; anything else as it is."""
    inner = get(get(piece, "chunk"), "bytes")
    return json.loads(inner) if isinstance(inner, bytes) else piece


def _text(piece: object, *, whole_too: bool) -> str:
    """Return the text in `piece`: what a chunk adds, and where `whole_too` also what a whole message has."""
    if isinstance(piece, str):
        return piece
    if get(piece, "type") == "text" and get(piece, "snapshot") is not None:
        return ""  # Anthropic's helper repeats each delta as an event of its own
    added = "".join(
        _delta(part) for part in (piece, get(piece, "contentBlockDelta"), *_all(piece, _CHOICES))
    )
    return added or (_whole(piece) if whole_too else "")


def _delta(part: object) -> str:
    delta = get(part, "delta")
    return delta if isinstance(delta, str) else first_text(delta, ("content", "text")) or ""


def _whole(piece: object) -> str:
    choices = [get(choice, "message") or choice for choice in _all(piece, _CHOICES)]
    parts = [piece, get(piece, "message"), get(get(piece, "output"), "message"), *choices]
    return first_text(piece, ("output_text",)) or next(
        (text for part in parts if (text := _content(part))), ""
    )


def _content(message: object) -> str:
    content = get(message, "content")
    blocks = get(content, "parts") or content
    if isinstance(blocks, (list, tuple)):
        return "".join(first_text(block, ("text",)) or "" for block in blocks)
    return content if isinstance(content, str) else ""
