"""Read model, id, finish reasons and token counts from responses of the providers' SDKs, by duck typing."""

from __future__ import annotations

from collections.abc import Mapping

from obs_core._llm.fields import all_items, decoded, first_text, get
from obs_core._llm.text import CHOICES, answer_text

# The names of each value at OpenAI, Anthropic, Bedrock, Gemini, Ollama and LangChain; the first found counts.
_MODEL = ("model", "model_version", "modelVersion", "model_name")
_ID = ("id", "response_id", "responseId")
_FINISH = ("finish_reason", "stop_reason", "stopReason", "finishReason", "done_reason")
_USAGE = (
    "usage",
    "usage_metadata",
    "usageMetadata",
    "amazon-bedrock-invocationMetrics",
    "token_usage",
)
# The names of a count, each with the counts that the provider reports apart from it and that belong to the total.
_INPUT: Mapping[str, tuple[str, ...]] = {
    "prompt_tokens": (),  # before input_tokens: LiteLLM reports totals here, and repeats Anthropic's counts
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
    """A number of tokens, from running totals (the highest counts) or from parts (the sum)."""

    __slots__ = ("_highest", "_sum")

    def __init__(self) -> None:
        self._highest: int | None = None
        self._sum: int | None = None

    @property
    def total(self) -> int | None:
        """The total so far."""
        if self._sum is not None:
            return self._sum
        return self._highest

    def take(self, count: int | None, *, is_part: bool) -> None:
        """Add a running total, or a part."""
        if count is None:
            return
        if is_part:
            self._sum = (self._sum or 0) + count
        else:
            self._highest = max(count, self._highest or 0)


class Reading:
    """Collects model, id, finish reasons and token counts from a whole response or its chunks, in any order.

    Attributes:
        text: The response's text if `keep_text`, cut after 32 KiB.
    """

    __slots__ = (
        "_input",
        "_output",
        "finish_reasons",
        "id",
        "keep_text",
        "model",
        "text",
    )

    def __init__(self, *, keep_text: bool = False) -> None:
        self.keep_text = keep_text
        self.model: str | None = None
        self.id: str | None = None
        self.finish_reasons: list[str] = []
        self.text = ""
        self._input, self._output = Tokens(), Tokens()

    @property
    def input_tokens(self) -> int | None:
        """Input tokens, cached tokens included."""
        return self._input.total

    @property
    def output_tokens(self) -> int | None:
        """Output tokens, reasoning included."""
        return self._output.total

    def take(self, piece: object) -> None:
        """Read a whole response, or a chunk."""
        piece = decoded(piece)
        if self.keep_text and len(self.text) < 32 * 1024:
            self.text += answer_text(piece, whole_too=not self.text)
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
        for choice in all_items(part, CHOICES):
            self._finish(choice)
        # a chunk of LangChain has the tokens that it adds, not a running total
        is_part = get(part, "type") == "AIMessageChunk"
        for name in _USAGE:
            self._count(get(part, name), _INPUT, _OUTPUT, is_part=is_part)
        self._count(part, _OLLAMA_INPUT, _OLLAMA_OUTPUT)

    def _finish(self, part: object) -> None:
        values = (get(part, name) for name in _FINISH)
        reason = next((value for value in values if value is not None), None)
        name = getattr(reason, "name", reason)
        if isinstance(name, str) and name not in self.finish_reasons:
            self.finish_reasons.append(name)

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


def _total(usage: object, names: Mapping[str, tuple[str, ...]]) -> int | None:
    """Return the first count among `names`, plus the counts that belong to it."""
    for name, more in names.items():
        count = _number(get(usage, name))
        if count is not None:
            return count + sum(_number(get(usage, each)) or 0 for each in more)
    return None


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return None
