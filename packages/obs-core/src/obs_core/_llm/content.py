"""Capture the messages to and from a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.trace import Span

from obs_core._llm.capture import INPUT_MESSAGES, SYSTEM_INSTRUCTIONS
from obs_core._llm.fields import first_text, get
from obs_core._llm.responses import Reading
from obs_core._safety.text import exportable, truncate

MAX_CONTENT_BYTES = 32 * 1024
_MESSAGE_ARGUMENTS = ("messages", "input", "prompt", "contents")
_SYSTEM_ARGUMENTS = ("system", "instructions")


def set_content(span: Span, bound: Mapping[str, Any]) -> None:
    """Set the messages and instructions in a call's arguments as attributes."""
    messages = next(filter(None, map(bound.get, _MESSAGE_ARGUMENTS)), None)
    if messages is not None:
        span.set_attribute(INPUT_MESSAGES, _json(map(_message, _listed(messages))))
    system = first_text(bound, _SYSTEM_ARGUMENTS)
    if system:
        span.set_attribute(SYSTEM_INSTRUCTIONS, _json([_part(system)]))


def _json(items: Iterable[object]) -> str:
    return json.dumps(list(items), ensure_ascii=False)


def _listed(value: Any) -> Sequence[Any]:
    if isinstance(value, (list, tuple)):
        return value
    return [value]


def _message(message: object) -> dict[str, object]:
    if isinstance(message, str):
        return {"role": "user", "parts": [_part(message)]}
    content = get(message, "content") or get(message, "parts") or ""
    role = first_text(message, ("role",)) or "user"
    return {"role": role, "parts": [_part(block) for block in _listed(content)]}


def _part(block: object) -> dict[str, object]:
    """Return a message's part: text unchanged, other blocks (an image, a tool call) as their type alone."""
    text = first_text(block, ("text", "content"))
    if isinstance(block, str):
        text = block
    if text is None:
        return {"type": first_text(block, ("type",)) or "unknown"}
    return {"type": "text", "content": truncate(exportable(text), MAX_CONTENT_BYTES)}


def output_messages(reading: Reading) -> str | None:
    """Return the answer's text in the JSON form of the conventions; None if no text was captured."""
    if not reading.text:
        return None
    reason = next(iter(reading.finish_reasons), "")
    message = {
        "role": "assistant",
        "parts": [_part(reading.text)],
        "finish_reason": reason,
    }
    return _json([message])
