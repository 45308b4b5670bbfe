"""What a model's answer says about itself, read by duck typing from the shapes that the providers' SDKs return."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
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
# The names of a count, and those of the counts that the provider tells beside it though they are part of the total.
_INPUT: Mapping[str, tuple[str, ...]] = {
    "prompt_tokens": (),  # before input_tokens: LiteLLM's totals, beside which it repeats Anthropic's
    "input_tokens": ("cache_read_input_tokens", "cache_creation_input_tokens"),
    "inputTokens": ("cacheReadInputTokens", "cacheWriteInputTokens"),
    "inputTokenCount": ("cacheReadInputTokenCount", "cacheWriteInputTokenCount"),
    "prompt_token_count": ("tool_use_prompt_token_count",),
    "promptTokenCount": ("toolUsePromptTokenCount",),
}
_OUTPUT: Mapping[str, tuple[str, ...]] = {
    "completion_tokens": (),
    "output_tokens": (),
    "outputTokens": (),
    "outputTokenCount": (),
    "candidates_token_count": ("thoughts_token_count",),
    "candidatesTokenCount": ("thoughtsTokenCount",),
}
_OLLAMA_INPUT: Mapping[str, tuple[str, ...]] = {"prompt_eval_count": ()}
_OLLAMA_OUTPUT: Mapping[str, tuple[str, ...]] = {"eval_count": ()}
_HEADER = "x-amzn-bedrock-{}-token-count"
_HEADER_INPUT: Mapping[str, tuple[str, ...]] = {
    _HEADER.format("input"): (
        _HEADER.format("cache-read-input"),
        _HEADER.format("cache-write-input"),
    )
}
_HEADER_OUTPUT: Mapping[str, tuple[str, ...]] = {_HEADER.format("output"): ()}
_NESTED = (
    "message",
    "response",
    "delta",
    "messageStop",
    "metadata",
    "response_metadata",
    "contentBlockDelta",
    "output",
    "chunk",
)


class Tokens:
    """One count of tokens: running totals, of which the highest is the last word, or parts that are added up."""

    __slots__ = ("_highest", "_sum")

    def __init__(self) -> None:
        self._highest: int | None = None
        self._sum: int | None = None

    @property
    def total(self) -> int | None:
        """The total as far as it is known."""
        return self._highest if self._sum is None else self._sum

    def take(self, count: int | None, *, is_part: bool) -> None:
        """Take a running total, or a part."""
        if count is None:
            return
        if is_part:
            self._sum = (self._sum or 0) + count
        else:
            self._highest = max(count, self._highest or 0)


class Reading:
    """Gathers model, id, finish reasons and token counts from a whole answer or from its chunks, in any order.

    Attributes:
        text: The answer's text, only where `keep_text`; at most 32 KiB.
    """

    __slots__ = ("_input", "_output", "finish_reasons", "id", "keep_text", "model", "text")

    def __init__(self, *, keep_text: bool = False) -> None:
        self.keep_text = keep_text
        self.model: str | None = None
        self.id: str | None = None
        self.finish_reasons: list[str] = []
        self.text = ""
        self._input, self._output = Tokens(), Tokens()

    @property
    def input_tokens(self) -> int | None:
        """All input, what was cached included."""
        return self._input.total

    @property
    def output_tokens(self) -> int | None:
        """All output, what was thought included."""
        return self._output.total

    def take(self, piece: object) -> None:
        """Read a whole answer, or one chunk of it."""
        piece = _decoded(piece)
        if self.keep_text and len(self.text) < 32 * 1024:
            self.text += _text(piece, whole_too=not self.text)
        for part in (piece, *(get(piece, name) for name in _NESTED)):
            self._take_part(part)
        headers = get(get(piece, "ResponseMetadata"), "HTTPHeaders")
        self._count(headers, _HEADER_INPUT, _HEADER_OUTPUT)

    def _take_part(self, part: object) -> None:
        if part is None or isinstance(part, str):
            return
        self.model = first_text(part, _MODEL) or self.model
        self.id = self.id or first_text(part, _ID)
        self._finish(part)
        for choice in _all(part, _CHOICES):
            self._finish(choice)
        # a chunk of LangChain's says what it adds, and its sum is LangChain's own
        is_part = get(part, "type") == "AIMessageChunk"
        for name in _USAGE:
            self._count(get(part, name), _INPUT, _OUTPUT, is_part=is_part)
        self._count(part, _OLLAMA_INPUT, _OLLAMA_OUTPUT)

    def _finish(self, part: object) -> None:
        reason = next((value for name in _FINISH if (value := get(part, name)) is not None), None)
        told = getattr(reason, "name", reason)
        if isinstance(told, str) and told not in self.finish_reasons:
            self.finish_reasons.append(told)

    def _count(
        self,
        usage: object,
        inputs: Mapping[str, tuple[str, ...]],
        outputs: Mapping[str, tuple[str, ...]],
        *,
        is_part: bool = False,
    ) -> None:
        if usage is not None:
            self._input.take(_total(usage, inputs), is_part=is_part)
            self._output.take(_total(usage, outputs), is_part=is_part)


def get(part: object, name: str) -> Any:
    """Return `part`'s entry or attribute `name`, or None."""
    return part.get(name) if isinstance(part, Mapping) else getattr(part, name, None)


def first_text(part: object, names: Sequence[str]) -> str | None:
    """Return the first of `part`'s entries `names` that is text."""
    return next(
        (value for name in names if isinstance(value := get(part, name), str) and value), None
    )


def _total(usage: object, names: Mapping[str, tuple[str, ...]]) -> int | None:
    """Return the first of the counts `names`, with what belongs to it."""
    for name, beside in names.items():
        if (count := _number(get(usage, name))) is not None:
            return count + sum(_number(get(usage, each)) or 0 for each in beside)
    return None


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _all(part: object, names: Sequence[str]) -> Iterator[object]:
    for name in names:
        found = get(part, name)
        if isinstance(found, (list, tuple)):
            yield from found


def is_raw_response(answer: object) -> bool:
    """Whether `answer` is what ``with_raw_response`` and ``with_streaming_response`` of OpenAI and Anthropic give."""
    return hasattr(type(answer), "parse") and hasattr(answer, "http_response")


def raw_content(answer: Any) -> bytes | None:
    """Return the JSON that is the body of a raw response; None before it has been read, and for a stream."""
    try:
        content: bytes = answer.http_response.content
    except Exception:  # noqa: BLE001 - httpx's, which is not imported for that
        return None
    return content if content.lstrip()[:1] == b"{" else None


def _decoded(piece: object) -> object:
    """Return the JSON inside a raw response, or a chunk of Bedrock's ``invoke_model_with_response_stream``.

    Anything else as it is.
    """
    is_raw = is_raw_response(piece)
    inner = raw_content(piece) if is_raw else get(get(piece, "chunk"), "bytes")
    with suppress(ValueError):
        if isinstance(inner, bytes):
            return json.loads(inner)
    return None if is_raw else piece


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
