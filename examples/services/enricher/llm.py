"""The call to the LLM provider, streaming, over OpenAI's HTTP protocol."""

import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
from obs_core import add_span_attributes, trace_function, trace_llm


@trace_llm(provider="openai", model="gpt-4o-mini")
def stream_chat(prompt: str) -> Iterator[dict[str, Any]]:
    body = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    with httpx.stream(
        "POST", f"{os.environ['LLM_URL']}/v1/chat/completions", json=body, timeout=30
    ) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                yield json.loads(line.removeprefix("data: "))


@trace_function(capture_args=("device",))
def describe_device(device: str) -> str:
    chunks = stream_chat(f"Describe the test device {device!r} in one sentence.")
    words = [
        choice["delta"].get("content") or ""
        for chunk in chunks
        for choice in chunk["choices"]
    ]
    description = "".join(words)
    add_span_attributes({"description.length": len(description)})
    return description
