"""Bedrock: calls of models have ``gen_ai.*`` attributes; messages are recorded on request only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from obs_core.integration import truncate
from opentelemetry.trace import Span

from obs_aws._api_call import ApiCall
from obs_aws._attributes import Attributes
from obs_aws._scrub import mask, scrub

_MAX_CONTENT_BYTES = 8192
_MAX_BODY_BYTES = 1_048_576
#: The names of settings in requests: Converse, Claude, Titan, Nova, Llama, Mistral, Cohere.
_SETTINGS = {
    "gen_ai.request.max_tokens": (
        "maxTokens",
        "max_tokens",
        "maxTokenCount",
        "max_new_tokens",
        "max_gen_len",
    ),
    "gen_ai.request.temperature": ("temperature",),
    "gen_ai.request.top_p": ("topP", "top_p", "p"),
    "gen_ai.request.top_k": ("topK", "top_k", "k"),
}
#: Tokens of input, of output, of input read from the cache, of input written to the cache: by the names in Converse's
#: responses and events, in response headers, and in the last chunk of an ``InvokeModel`` stream. No token is counted twice:
#: https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
_CONVERSE = (
    "inputTokens",
    "outputTokens",
    "cacheReadInputTokens",
    "cacheWriteInputTokens",
)
_HEADERS = tuple(
    f"x-amzn-bedrock-{name}-token-count"
    for name in ("input", "output", "cache-read-input", "cache-write-input")
)
_METRICS = (
    "inputTokenCount",
    "outputTokenCount",
    "cacheReadInputTokenCount",
    "cacheWriteInputTokenCount",
)
_METRICS_KEY = "amazon-bedrock-invocationMetrics"
_USAGE = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
)


class ModelCall(ApiCall):
    """A call of a model."""

    def _model(self) -> str:
        return scrub(str(self.params.get("modelId", "unknown")))

    def _operation_name(self) -> str:
        is_completion = "body" in self.params and "amazon.titan-text" in self._model()
        return "text_completion" if is_completion else "chat"

    def span_name(self) -> str:
        return f"{self._operation_name()} {self._model()}"

    def attributes(self) -> Attributes:
        attributes: Attributes = {
            "gen_ai.provider.name": "aws.bedrock",
            "gen_ai.operation.name": self._operation_name(),
            "gen_ai.request.model": self._model(),
        }
        attributes |= _setting_attributes(
            self.params.get("inferenceConfig") or _settings_in(self.params.get("body"))
        )
        if self.options.capture_gen_ai_content:
            attributes |= _content("gen_ai.input.messages", self.params.get("messages"))
            attributes |= _content(
                "gen_ai.system_instructions", self.params.get("system")
            )
        return attributes

    def read(self, result: Mapping[str, Any]) -> None:
        headers = result.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        counts = _usage(headers, _HEADERS)
        self.span.set_attributes({**counts, **_answer_attributes(result)})
        if self.options.capture_gen_ai_content:
            self.span.set_attributes(
                _content(
                    "gen_ai.output.messages",
                    (result.get("output") or {}).get("message"),
                )
            )

    @staticmethod
    def read_event(span: Span, event: Mapping[str, Any]) -> None:
        for part in ("metadata", "messageStop"):
            if part in event:
                span.set_attributes(_answer_attributes(event[part]))
        if _METRICS_KEY.encode() in (chunk := event.get("chunk", {}).get("bytes", b"")):
            span.set_attributes(
                _usage(_json_object(chunk).get(_METRICS_KEY) or {}, _METRICS)
            )


def _setting_attributes(settings: Mapping[str, Any]) -> Attributes:
    attributes: Attributes = {}
    for attribute, spellings in _SETTINGS.items():
        value = next((settings[name] for name in spellings if name in settings), None)
        if isinstance(value, (int, float)):
            attributes[attribute] = value
    return attributes


def _settings_in(body: object) -> Mapping[str, Any]:
    """Return the settings in an ``InvokeModel`` body; {} if the body is no JSON object, or too big to read."""
    if not isinstance(body, (str, bytes, bytearray)) or len(body) > _MAX_BODY_BYTES:
        return {}
    decoded = _json_object(body)
    settings = (
        decoded.get("textGenerationConfig") or decoded.get("inferenceConfig") or decoded
    )
    return settings if isinstance(settings, dict) else {}


def _json_object(text: str | bytes | bytearray) -> dict[str, Any]:
    try:
        decoded = json.loads(text)
    except ValueError:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _usage(counts: Mapping[str, Any], names: tuple[str, ...]) -> Attributes:
    """Return the attributes of the four token counts; cached tokens count as input, as the conventions say."""
    known = {
        name: int(counts[key])
        for name, key in zip(_USAGE, names, strict=True)
        if str(counts.get(key)).isdecimal()
    }
    if (total := _USAGE[0]) in known:
        known[total] = sum(count for name, count in known.items() if name != _USAGE[1])
    return dict(known)


def _answer_attributes(answer: Mapping[str, Any]) -> Attributes:
    """Return usage and finish reason of a response, or of an event in a stream."""
    attributes = _usage(answer.get("usage") or {}, _CONVERSE)
    if reason := answer.get("stopReason"):
        attributes["gen_ai.response.finish_reasons"] = [reason]
    return attributes


def _content(name: str, content: object) -> Attributes:
    if not content:
        return {}
    return {name: truncate(mask(json.dumps(content, default=repr)), _MAX_CONTENT_BYTES)}


#: The classes of calls by operation.
BEDROCK: dict[str, type[ApiCall]] = dict.fromkeys(
    ("Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream"),
    ModelCall,
)
