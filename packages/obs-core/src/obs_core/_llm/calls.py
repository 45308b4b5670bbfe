"""Run calls of language models under a span: request attributes, response attributes, streams."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from opentelemetry.context import attach, detach
from opentelemetry.trace import Span, set_span_in_context
from opentelemetry.util.types import AttributeValue

from obs_core._decorators.arguments import ArgumentCapture
from obs_core._decorators.calls import span_starter
from obs_core._decorators.generator_span import GeneratorSpan
from obs_core._decorators.spec import AnyCallable, SpanSpec
from obs_core._decorators.trace_function import WRAPPERS, Kind, Wrap
from obs_core._integrations.native import FINISH_REASONS, counts_tokens
from obs_core._llm.capture import OUTPUT_MESSAGES, captures_content
from obs_core._llm.content import output_messages, set_content
from obs_core._llm.fields import first_text
from obs_core._llm.responses import Reading
from obs_core._llm.streams import watched
from obs_core._safety.containment import call_contained
from obs_core._safety.text import exportable, truncate

# gen_ai.* is of development status, so the names are ours to keep: https://github.com/open-telemetry/semantic-conventions-genai
OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"

MAX_MODEL_BYTES = 256
_MODEL_ARGUMENTS = ("model", "model_id", "modelId")
_REQUEST_NUMBERS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
}


class Request:
    """Sets the requested model, parameters and messages on a span, from the arguments of the call."""

    __slots__ = ("_arguments", "_dynamic", "_operation")

    def __init__(
        self, arguments: ArgumentCapture, operation: str, *, dynamic: bool
    ) -> None:
        self._arguments = arguments
        self._operation = operation
        self._dynamic = dynamic

    def __call__(
        self, span: Span, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._arguments(span, args, kwargs)
        bound = self._arguments.bind(args, kwargs)
        if self._dynamic:
            self._set_model(span, first_text(bound, _MODEL_ARGUMENTS))
        for name, key in _REQUEST_NUMBERS.items():
            value = bound.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                span.set_attribute(key, value)
        if captures_content():
            set_content(span, bound)

    def _set_model(self, span: Span, name: str | None) -> None:
        if name is None:
            return
        model = truncate(exportable(name), MAX_MODEL_BYTES)
        span.update_name(f"{self._operation} {model}")
        span.set_attribute(REQUEST_MODEL, model)


class Answer:
    """Sets the model, id, finish reasons and token counts of a response on a span."""

    __slots__ = ("_reading", "_span")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._reading = Reading(keep_text=captures_content())

    def item(self, item: object) -> None:
        self._reading.take(item)

    def end(self, first_after_s: float | None) -> None:
        reading = self._reading
        usage = reading.usage.attributes()
        found: dict[str, AttributeValue | None] = {
            RESPONSE_MODEL: reading.model,
            RESPONSE_ID: reading.id,
            FINISH_REASONS: reading.finish_reasons or None,
            **usage,
            OUTPUT_MESSAGES: output_messages(reading),
        }
        if first_after_s is not None:
            found |= {FIRST_CHUNK: first_after_s, REQUEST_STREAM: True}
        # an SDK that traces itself has joined the span, and knows this call better
        known = {*(getattr(self._span, "attributes", None) or ())}
        if not counts_tokens(self._span):
            known |= {*usage}
        self._span.set_attributes(
            {
                key: value
                for key, value in found.items()
                if value is not None and key not in known
            }
        )


def _answering_call(function: AnyCallable, spec: SpanSpec) -> AnyCallable:
    """Wrap a plain callable that returns an answer or a stream."""
    start = span_starter(spec)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        span = start(args, kwargs)
        if span is None:
            return function(*args, **kwargs)
        answer_span = spec.generator_span(span)
        token = attach(set_span_in_context(span))
        try:
            answer = function(*args, **kwargs)
        except BaseException as error:
            answer_span.end_failed(error)
            raise
        finally:
            detach(token)
        if inspect.iscoroutine(answer):
            return _awaited(lambda: answer, span, answer_span)
        return _answered(answer, span, answer_span)

    return wrapper


def _answering_coroutine(function: AnyCallable, spec: SpanSpec) -> AnyCallable:
    """Wrap a coroutine function that returns an answer or a stream."""
    start = span_starter(spec)

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        span = start(args, kwargs)
        if span is None:
            return await function(*args, **kwargs)
        answer_span = spec.generator_span(span)
        return await _awaited(lambda: function(*args, **kwargs), span, answer_span)

    return wrapper


async def _awaited(
    ask: Callable[[], Awaitable[Any]], span: Span, answer_span: GeneratorSpan
) -> Any:
    """Wait for an answer or a stream in the call's context."""
    try:
        awaited = await answer_span.context.run_async(ask)
    except BaseException as error:
        answer_span.end_failed(error)
        raise
    return _answered(awaited, span, answer_span)


LLM_WRAPPERS: dict[Kind, Wrap] = {
    **WRAPPERS,
    "call": _answering_call,
    "coroutine": _answering_coroutine,
}


def _answered(answer: Any, span: Span, answer_span: GeneratorSpan) -> Any:
    """Read `answer` and end the span; for a stream, return the watched stream, whose end is the span's."""
    stream = None
    if span.is_recording():
        stream = call_contained("watching a stream", watched, answer, answer_span)
    if stream is not None:
        return stream
    answer_span.end_whole(answer)
    return answer
