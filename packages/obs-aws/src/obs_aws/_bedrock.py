"""Bedrock: models are told by the ``gen_ai.*`` attributes, what is said to them only on request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from obs_core.integration import truncate
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from obs_aws._calls import Attributes, Call, Params
from obs_aws._plan import Plan
from obs_aws._scrub import mask, scrub

_MAX_CONTENT_BYTES = 8192
_MAX_BODY_BYTES = 1_048_576
_OPERATIONS = {"Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream"}
#: The settings' names in the models' own requests: Converse, Claude, Titan, Nova, Llama, Mistral, Cohere.
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
_USAGE = {
    "inputTokens": "gen_ai.usage.input_tokens",
    "outputTokens": "gen_ai.usage.output_tokens",
    "cacheReadInputTokens": "gen_ai.usage.cache_read.input_tokens",
    "cacheWriteInputTokens": "gen_ai.usage.cache_creation.input_tokens",
}
#: https://docs.aws.amazon.com/bedrock/latest/userguide/monitoring.html: the counts without reading the body.
_USAGE_HEADERS = {
    "x-amzn-bedrock-input-token-count": "gen_ai.usage.input_tokens",
    "x-amzn-bedrock-output-token-count": "gen_ai.usage.output_tokens",
}


def bedrock_call(plan: Plan, operation: str, params: Params) -> Call:
    """Choose how a Bedrock call is traced."""
    return (_ModelCall if operation in _OPERATIONS else Call)(plan, operation, params)


class _ModelCall(Call):
    """A call of a model."""

    def _model(self) -> str:
        return scrub(str(self.params.get("modelId", "unknown")))

    def _operation_name(self) -> str:
        return (
            "text_completion"
            if "body" in self.params and "amazon.titan-text" in self._model()
            else "chat"
        )

    def span_name(self) -> str:
        return f"{self._operation_name()} {self._model()}"

    def attributes(self) -> Attributes:
        attributes: Attributes = {
            "gen_ai.provider.name": "aws.bedrock",
            "gen_ai.operation.name": self._operation_name(),
            "gen_ai.request.model": self._model(),
        }
        settings = self.params.get("inferenceConfig") or _settings_in(self.params.get("body"))
        for attribute, spellings in _SETTINGS.items():
            value = next((settings[name] for name in spellings if name in settings), None)
            if isinstance(value, (int, float)):
                attributes[attribute] = value
        if self.plan.options.gen_ai_content:
            attributes |= _content("gen_ai.input.messages", self.params.get("messages"))
            attributes |= _content("gen_ai.system_instructions", self.params.get("system"))
        return attributes

    def read(self, result: Mapping[str, Any]) -> None:
        headers = result.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        counts = {
            name: int(headers[header])
            for header, name in _USAGE_HEADERS.items()
            if str(headers.get(header)).isdecimal()
        }
        self.span.set_attributes({**counts, **_answer_attributes(result)})
        if self.plan.options.gen_ai_content:
            self.span.set_attributes(
                _content("gen_ai.output.messages", (result.get("output") or {}).get("message"))
            )

    @staticmethod
    def read_event(span: Span, event: Mapping[str, Any]) -> None:
        for part in ("metadata", "messageStop"):
            if part in event:
                span.set_attributes(_answer_attributes(event[part]))


def _settings_in(body: object) -> Mapping[str, Any]:
    """Return the settings of an ``InvokeModel`` body; an empty mapping for what is no JSON object, or too big to look at."""
    if not isinstance(body, (str, bytes, bytearray)) or len(body) > _MAX_BODY_BYTES:
        return {}
    try:
        decoded = json.loads(body)
    except ValueError:
        return {}
    nested = (
        (decoded.get("textGenerationConfig") or decoded.get("inferenceConfig"))
        if isinstance(decoded, dict)
        else None
    )
    settings = nested or decoded
    return settings if isinstance(settings, dict) else {}


def _answer_attributes(answer: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Return what an answer, or a stream's event, says of usage and of why the model stopped."""
    usage = answer.get("usage") or {}
    attributes: dict[str, AttributeValue] = {
        name: usage[key] for key, name in _USAGE.items() if key in usage
    }
    if reason := answer.get("stopReason"):
        attributes["gen_ai.response.finish_reasons"] = [reason]
    return attributes


def _content(name: str, content: object) -> dict[str, AttributeValue]:
    return (
        {name: truncate(mask(json.dumps(content, default=repr)), _MAX_CONTENT_BYTES)}
        if content
        else {}
    )
