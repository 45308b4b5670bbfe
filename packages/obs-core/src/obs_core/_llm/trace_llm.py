"""`trace_llm`: calls of language models, by the ``gen_ai.*`` conventions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from obs_core._decorators.arguments import ArgumentCapture
from obs_core._decorators.spec import AnyCallable, SpanSpec
from obs_core._decorators.trace_function import Expected, F, apply
from obs_core._decorators.validation import check_attributes, check_name, checked_expected


@overload
def trace_llm(
    function: F,
    /,
    *,
    provider: str,
    model: str | None = None,
    operation: str = "chat",
    attributes: Mapping[str, AttributeValue | None] | None = None,
    capture_args: Iterable[str] = (),
    expected: Expected = (),
) -> F: ...
@overload
def trace_llm(
    *,
    provider: str,
    model: str | None = None,
    operation: str = "chat",
    attributes: Mapping[str, AttributeValue | None] | None = None,
    capture_args: Iterable[str] = (),
    expected: Expected = (),
) -> Callable[[F], F]: ...
def trace_llm(
    function: Any = None,
    /,
    *,
    provider: str,
    model: str | None = None,
    operation: str = "chat",
    attributes: Mapping[str, AttributeValue | None] | None = None,
    capture_args: Iterable[str] = (),
    expected: Expected = (),
) -> Any:
    """Run each call of a function that asks a language model in a CLIENT span ``{operation} {model}``.

    Args:
        function: What to decorate, of any kind that `trace_function` takes.
        provider: For ``gen_ai.provider.name``: ``"openai"``, ``"anthropic"``, ``"aws.bedrock"``, …
        model: The model asked for; default: the call's own argument ``model`` (or ``model_id``), where it has one.
        operation: ``"chat"``, ``"text_completion"``, ``"embeddings"``, …
        attributes: Set on every span; those that are None are left out.
        capture_args: Names of arguments to record as ``obs.args.<name>``; default none.
        expected: Exceptions that are an answer, not an error.

    Raises:
        TypeError: `function` is a class, or cannot be called.
        ConfigurationError: An option is malformed.

    Response model, id, finish reasons and token counts are read from what the function returns (OpenAI, Anthropic, Bedrock,
    Gemini, LangChain, dicts), without importing any SDK. Where it returns a stream, or yields chunks, the span lasts until the
    last chunk, the close, or the stream's collection, and the time to the first chunk is recorded in seconds. Messages are
    recorded only where ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` is ``true`` (or ``span_only``,
    ``span_and_event``). Thread- and fork-safe.
    """
    from obs_core._llm.calls import (
        LLM_WRAPPERS,
        OPERATION,
        PROVIDER,
        REQUEST_MODEL,
        Answer,
        Request,
    )

    check_name("provider", provider)
    check_name("operation", operation)
    check_name("model", model, optional=True)
    asked = {OPERATION: operation, PROVIDER: provider} | ({REQUEST_MODEL: model} if model else {})
    given, exceptions = {**asked, **check_attributes(attributes)}, checked_expected(expected)

    def make_spec(
        target: AnyCallable, default_name: str, code: Mapping[str, AttributeValue]
    ) -> SpanSpec:
        return SpanSpec(
            name=f"{operation} {model}" if model else operation,
            kind=SpanKind.CLIENT,
            attributes={**code, **given},
            expected=exceptions,
            on_start=Request(ArgumentCapture(target, capture_args), operation, dynamic=not model),
            watch=Answer,
        )

    def decorate(target: Any) -> Any:
        return apply(target, make_spec, LLM_WRAPPERS)

    return decorate if function is None else decorate(function)
