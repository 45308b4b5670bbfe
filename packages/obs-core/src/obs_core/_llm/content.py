"""What was said to a model and what it answered: recorded only where the user switches it on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import Span

from obs_core._llm.responses import Reading, first_text, get
from obs_core._safety.text import exportable, truncate

INPUT_MESSAGES = "gen_ai.input.messages"
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"

CAPTURE_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
MAX_CONTENT_BYTES = 32 * 1024
_MESSAGE_ARGUMENTS = ("messages", "input", "prompt", "contents")
_SYSTEM_ARGUMENTS = ("system", "instructions")


def captures_content() -> bool:
    """Whether the user has switched the capture of messages on; read anew at each call."""
    return os.environ.get(CAPTURE_CONTENT, "").strip().lower() in (
        "true",
        "1",
        "span_only",
        "span_and_event",
    )


def tell_content(span: Span, bound: Mapping[str, Any]) -> None:
    """Set the messages and instructions among a call's arguments."""
    messages = next((bound[name] for name in _MESSAGE_ARGUMENTS if bound.get(name)), None)
    if messages is not None:
        listed = messages if isinstance(messages, (list, tuple)) else [messages]
        span.set_attribute(
            INPUT_MESSAGES,
            json.dumps([_message(message) for message in listed], ensure_ascii=False),
        )
    system = first_text(bound, _SYSTEM_ARGUMENTS)
    if system:
        span.set_attribute(SYSTEM_INSTRUCTIONS, json.dumps([_part(system)], ensure_ascii=False))


def _message(message: object) -> dict[str, object]:
    if isinstance(message, str):
        return {"role": "user", "parts": [_part(message)]}
    content = get(message, "content") or get(message, "parts") or ""
    blocks = content if isinstance(content, (list, tuple)) else [content]
    return {
        "role": first_text(message, ("role",)) or "user",
        "parts": [_part(block) for block in blocks],
    }


def _part(block: object) -> dict[str, object]:
    """Return a message's part: text as it is, anything else (an image, a tool's call) by its type alone."""
    text = block if isinstance(block, str) else first_text(block, ("text", "content"))
    if text is None:
        return {"type": first_text(block, ("type",)) or "unknown"}
    return {"type": "text", "content": truncate(exportable(text), MAX_CONTENT_BYTES)}


def output_messages(reading: Reading) -> str:
    """Return the answer as the conventions' JSON."""
    reason = reading.finish_reasons[0] if reading.finish_reasons else ""
    message = {"role": "assistant", "parts": [_part(reading.text)], "finish_reason": reason}
    return json.dumps([message], ensure_ascii=False)
