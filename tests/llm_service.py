"""A FastAPI service, its Celery worker and the models' API: the first asks OpenAI's client, the second Anthropic's.

Told by environment: ``TRACING``, ours or contrib; ``REDIS_URL``; ``MODELS_URL``, where the models answer; where spans go, by
OpenTelemetry's variables.
"""

from __future__ import annotations

import os
from typing import Any

import anthropic
import openai
from celery import Celery
from fastapi import FastAPI

ASK: Any = [{"role": "user", "content": "Hi"}]


def ours() -> None:
    """Set up with what is installed."""
    from obs_core import TracingConfig, setup_tracing

    setup_tracing(TracingConfig(), instrument="auto")


def contrib() -> None:
    """Set up as contrib's pages say, with an instrumentation for each library that has one."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    for instrumentor in (FastAPIInstrumentor, HTTPXClientInstrumentor):
        instrumentor().instrument()
    CeleryInstrumentor().instrument()


{"ours": ours, "contrib": contrib}[os.environ["TRACING"]]()
celery = Celery("llm_service", broker=os.environ["REDIS_URL"])
celery.conf.task_default_queue = f"llm-{os.environ['TRACING']}"
url = os.environ.get("MODELS_URL", "")
app = FastAPI()
models = FastAPI()


@celery.task(name="summarise")  # type: ignore[untyped-decorator] # untyped in Celery
def summarise(text: str) -> str:
    """Ask the second model."""
    with anthropic.Anthropic(api_key="k", base_url=url) as client:
        answer = client.messages.create(model="claude-x", max_tokens=9, messages=ASK)
    return f"{text} {answer.content[0].text}"  # type: ignore[union-attr]


@app.post("/answers")
async def answers() -> str | None:
    """Ask the first model, and leave the rest to the worker."""
    async with openai.AsyncOpenAI(api_key="k", base_url=url) as client:
        answer = await client.chat.completions.create(model="gpt-x", messages=ASK)
    text = answer.choices[0].message.content
    summarise.delay(text)
    return text


@models.post("/chat/completions")
async def chat_completions() -> dict[str, Any]:
    """Answer as OpenAI's API."""
    message = {"role": "assistant", "content": "Hello"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    common = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-x"}
    return {**common, "choices": [choice], "usage": usage}


@models.post("/v1/messages")
async def messages() -> dict[str, Any]:
    """Answer as Anthropic's API."""
    content = [{"type": "text", "text": "Hello"}]
    usage = {"input_tokens": 5, "output_tokens": 4, "cache_read_input_tokens": 3}
    common = {"id": "m", "type": "message", "role": "assistant", "model": "claude-x"}
    return {**common, "content": content, "stop_reason": "end_turn", "usage": usage}
