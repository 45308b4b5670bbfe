"""Count a call's tokens by the names of the providers' SDKs: the totals, and what is reported apart inside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from obs_core._llm.fields import all_items, get

INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ = "gen_ai.usage.cache_read.input_tokens"
CACHE_CREATION = "gen_ai.usage.cache_creation.input_tokens"
REASONING = "gen_ai.usage.reasoning.output_tokens"
AUDIO_INPUT = "gen_ai.usage.audio.input_tokens"
AUDIO_OUTPUT = "gen_ai.usage.audio.output_tokens"

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
_OLLAMA = {
    INPUT_TOKENS: {"prompt_eval_count": ()},
    OUTPUT_TOKENS: {"eval_count": ()},
}
_HEADER = "x-amzn-bedrock-{}-token-count"
_HEADER_CACHE = {
    CACHE_READ: _HEADER.format("cache-read-input"),
    CACHE_CREATION: _HEADER.format("cache-write-input"),
}
_HEADERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    INPUT_TOKENS: {_HEADER.format("input"): tuple(_HEADER_CACHE.values())},
    OUTPUT_TOKENS: {_HEADER.format("output"): ()},
    **{attribute: {name: ()} for attribute, name in _HEADER_CACHE.items()},
}
# The objects inside a usage that break a total down: OpenAI's two APIs and LiteLLM, LangChain.
_INPUT_DETAILS = (
    "prompt_tokens_details",
    "input_tokens_details",
    "input_token_details",
)
_OUTPUT_DETAILS = (
    "completion_tokens_details",
    "output_tokens_details",
    "output_token_details",
)
# Gemini's, a count for each modality.
_INPUT_MODALITIES = ("prompt_tokens_details", "promptTokensDetails")
_OUTPUT_MODALITIES = ("candidates_tokens_details", "candidatesTokensDetails")
# Where the parts of a total are told: the names beside the total, the objects of details, and the names in these.
_PARTS: Mapping[str, tuple[Iterable[str], Iterable[str], Iterable[str]]] = {
    CACHE_READ: (
        (
            "cache_read_input_tokens",
            "cacheReadInputTokens",
            "cacheReadInputTokenCount",
            "cached_content_token_count",
            "cachedContentTokenCount",
        ),
        _INPUT_DETAILS,
        ("cached_tokens", "cache_read"),
    ),
    CACHE_CREATION: (
        (
            "cache_creation_input_tokens",
            "cacheWriteInputTokens",
            "cacheWriteInputTokenCount",
        ),
        _INPUT_DETAILS,
        ("cache_write_tokens", "cache_creation_tokens", "cache_creation"),
    ),
    REASONING: (
        ("thoughts_token_count", "thoughtsTokenCount"),
        _OUTPUT_DETAILS,
        ("reasoning_tokens", "thinking_tokens", "reasoning"),
    ),
    AUDIO_INPUT: ((), _INPUT_DETAILS, ("audio_tokens", "audio")),
    AUDIO_OUTPUT: ((), _OUTPUT_DETAILS, ("audio_tokens", "audio")),
}


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


class Usage:
    """The tokens of a call so far, by attribute."""

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        self._tokens: dict[str, Tokens] = {}

    def attributes(self) -> dict[str, int | None]:
        """Return the counts that were reported."""
        return {key: tokens.total for key, tokens in self._tokens.items()}

    def take(self, usage: object, *, is_part: bool = False) -> None:
        """Count a usage: a running total, or the part that a chunk adds."""
        if usage is None:
            return
        counts = {
            INPUT_TOKENS: _total(usage, _INPUT),
            OUTPUT_TOKENS: _total(usage, _OUTPUT),
        }
        for attribute, (beside, details, names) in _PARTS.items():
            inside = (get(usage, name) for name in details)
            counts[attribute] = _first(usage, beside, inside, names)
        self._take(counts, is_part=is_part)
        self._take(_audio(usage), is_part=is_part)

    def take_flat(self, answer: object) -> None:
        """Count what Ollama reports in the answer itself."""
        self._take({key: _total(answer, names) for key, names in _OLLAMA.items()})

    def take_headers(self, headers: object) -> None:
        """Count what Bedrock reports in the headers of a response."""
        if headers is not None:
            self._take({key: _total(headers, names) for key, names in _HEADERS.items()})

    def _take(self, counts: Mapping[str, int | None], *, is_part: bool = False) -> None:
        for attribute, count in counts.items():
            if count is not None:
                tokens = self._tokens.setdefault(attribute, Tokens())
                tokens.take(count, is_part=is_part)


def _total(usage: object, names: Mapping[str, tuple[str, ...]]) -> int | None:
    """Return the first count among `names`, plus the counts that belong to it."""
    for name, more in names.items():
        count = _number(get(usage, name))
        if count is not None:
            return count + sum(_number(get(usage, each)) or 0 for each in more)
    return None


def _first(
    usage: object,
    beside: Iterable[str],
    details: Iterable[object],
    names: Iterable[str],
) -> int | None:
    """Return the first count among the names `beside` in `usage`, then among `names` in its `details`."""
    found = [_number(get(usage, name)) for name in beside]
    found += [
        _number(get(detail, name)) for detail in details if detail for name in names
    ]
    return next((count for count in found if count is not None), None)


def _audio(usage: object) -> dict[str, int | None]:
    """Return Gemini's counts of the modality audio."""
    return {
        AUDIO_INPUT: _of_audio(usage, _INPUT_MODALITIES),
        AUDIO_OUTPUT: _of_audio(usage, _OUTPUT_MODALITIES),
    }


def _of_audio(usage: object, lists: Iterable[str]) -> int | None:
    for entry in all_items(usage, tuple(lists)):
        modality = get(entry, "modality")
        if getattr(modality, "name", modality) == "AUDIO":
            count = get(entry, "token_count")
            return _number(get(entry, "tokenCount") if count is None else count)
    return None


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return None
