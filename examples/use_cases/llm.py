"""An LLM call under a decorator, with static and dynamic attributes."""

import asyncio
from types import SimpleNamespace

from obs_core import TracingConfig, add_span_attributes, setup_tracing, trace_function
from opentelemetry import trace


async def chat(prompt: str, model: str) -> SimpleNamespace:
    """Stand in for a provider's client."""
    return SimpleNamespace(
        text=f"{model} read {prompt!r}", usage=SimpleNamespace(total_tokens=42)
    )


client = SimpleNamespace(chat=chat)


@trace_function(name="llm.openai.chat", attributes={"llm.provider": "openai"})
async def call_openai(prompt: str, model: str = "gpt-4") -> SimpleNamespace:
    span = trace.get_current_span()
    span.set_attributes({"llm.model": model, "llm.prompt_length": len(prompt)})
    response = await client.chat(prompt, model)
    add_span_attributes({"llm.tokens.total": response.usage.total_tokens})
    return response


if __name__ == "__main__":
    setup_tracing(TracingConfig(service_name="my-service"))
    asyncio.run(call_openai("Why is the sky blue?"))
