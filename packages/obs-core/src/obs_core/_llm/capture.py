"""Messages to and from a model: recorded only if the user has switched this on."""

from __future__ import annotations

import os

INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
CONTENT = frozenset(
    {
        INPUT_MESSAGES,
        OUTPUT_MESSAGES,
        SYSTEM_INSTRUCTIONS,
        "gen_ai.tool.definitions",
    }
)

CAPTURE_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_SWITCHED_ON = ("true", "1", "span_only", "span_and_event")


def captures_content() -> bool:
    """Whether the user has switched the capture of messages on; read at each call."""
    return os.environ.get(CAPTURE_CONTENT, "").strip().lower() in _SWITCHED_ON
