"""Read model, id, finish reasons and token counts from responses of the providers' SDKs, by duck typing."""

from __future__ import annotations

from obs_core._llm.fields import all_items, decoded, first_text, get
from obs_core._llm.text import CHOICES, answer_text
from obs_core._llm.usage import Usage

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


class Reading:
    """Collects model, id, finish reasons and token counts from a whole response or its chunks, in any order.

    Attributes:
        text: The response's text if `keep_text`, cut after 32 KiB.
        usage: The token counts.
    """

    __slots__ = (
        "finish_reasons",
        "id",
        "keep_text",
        "model",
        "text",
        "usage",
    )

    def __init__(self, *, keep_text: bool = False) -> None:
        self.keep_text = keep_text
        self.model: str | None = None
        self.id: str | None = None
        self.finish_reasons: list[str] = []
        self.text = ""
        self.usage = Usage()

    def take(self, piece: object) -> None:
        """Read a whole response, or a chunk."""
        piece = decoded(piece)
        if self.keep_text and len(self.text) < 32 * 1024:
            self.text += answer_text(piece, whole_too=not self.text)
        for part in (piece, *(get(piece, name) for name in _NESTED)):
            self._take_part(part)
        self.usage.take_headers(get(get(piece, "ResponseMetadata"), "HTTPHeaders"))

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
            self.usage.take(get(part, name), is_part=is_part)
        self.usage.take_flat(part)

    def _finish(self, part: object) -> None:
        values = (get(part, name) for name in _FINISH)
        reason = next((value for value in values if value is not None), None)
        name = getattr(reason, "name", reason)
        if isinstance(name, str) and name not in self.finish_reasons:
            self.finish_reasons.append(name)
