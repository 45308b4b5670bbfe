"""A local stand-in for an LLM provider, speaking OpenAI's streaming HTTP protocol; not traced, as a real one is not."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

ANSWER = "A pocket-sized phone that boots fast, scrolls smoothly and keeps its cool under a long test run."


def event(
    model: str, *, choices: list[dict[str, Any]], usage: dict[str, int] | None = None
) -> str:
    """One server-sent event of a chat completion."""
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": model,
        "choices": choices,
        "usage": usage,
    }
    return f"data: {json.dumps(chunk)}\n\n"


async def answer(model: str, prompt: str) -> AsyncIterator[str]:
    """The answer, a word at a time, then the usage."""
    words = [] if "'mute'" in prompt else ANSWER.split()
    for word in words:
        yield event(
            model,
            choices=[
                {"index": 0, "delta": {"content": word + " "}, "finish_reason": None}
            ],
        )
        await asyncio.sleep(0.01)
    yield event(model, choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    tokens = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(words)}
    yield event(
        model, choices=[], usage={**tokens, "total_tokens": sum(tokens.values())}
    )
    yield "data: [DONE]\n\n"


async def chat(request: Request) -> StreamingResponse:
    """``POST /v1/chat/completions`` with ``stream: true``."""
    body = await request.json()
    prompt = body["messages"][-1]["content"]
    return StreamingResponse(
        answer(f"{body['model']}-2026-08-01", prompt), media_type="text/event-stream"
    )


app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
