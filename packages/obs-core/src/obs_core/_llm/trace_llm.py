"""`trace_llm`: calls of language models, by the ``gen_ai.*`` conventions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from obs_core._decorators.arguments import ArgumentCapture
from obs_core._decorators.spec import AnyCallable, SpanSpec
from obs_core._decorators.trace_function import Expected, F, MakeSpec, apply
from obs_core._decorators.validation import (
    check_attributes,
    check_name,
    checked_expected,
)


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
        function: The callable, of any kind that `trace_function` accepts.
        provider: For ``gen_ai.provider.name``: ``"openai"``, ``"anthropic"``, ``"aws.bedrock"``, …
        model: The requested model; default: the call's argument ``model`` or ``model_id``, if any.
        operation: ``"chat"``, ``"text_completion"``, ``"embeddings"``, …
        attributes: Set on every span; attributes that are None are left out.
        capture_args: Names of arguments to record as ``obs.args.<name>``; default: no arguments.
        expected: Exceptions that are an answer, not an error.

    Raises:
        TypeError: `function` is a class, or cannot be called.
        ConfigurationError: An option is malformed.

    Response model, id, finish reasons and token counts are read from the returned response (OpenAI, Anthropic, Bedrock,
    Gemini, LangChain, dicts), without importing any SDK. For a stream, or a generator of chunks, the span lasts until the last
    chunk, the close, or garbage collection, and the time to the first chunk is recorded in seconds. Messages are recorded only
    if ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` is ``true`` (or ``span_only``,
    ``span_and_event``). Thread- and fork-safe.
    """
    # imported by the services that ask a model, and by no others
    from obs_core._llm.calls import LLM_WRAPPERS

    check_name("provider", provider)
    check_name("operation", operation)
    check_name("model", model, optional=True)
    make_spec = _spec_maker(
        provider,
        operation,
        model,
        attributes=check_attributes(attributes),
        capture_args=capture_args,
        expected=checked_expected(expected),
    )

    def decorate(target: Any) -> Any:
        return apply(target, make_spec, LLM_WRAPPERS)

    if function is None:
        return decorate
    return decorate(function)


def _spec_maker(
    provider: str,
    operation: str,
    model: str | None,
    attributes: Mapping[str, AttributeValue],
    capture_args: Iterable[str],
    expected: tuple[type[BaseException], ...],
) -> MakeSpec:
    """Return the function that makes the spec of a decorated callable's spans; the options are checked."""
    from obs_core._llm.calls import OPERATION, PROVIDER, REQUEST_MODEL, Answer, Request

    name, requested = operation, {OPERATION: operation, PROVIDER: provider}
    if model:
        name, requested[REQUEST_MODEL] = f"{operation} {model}", model
    given = {**requested, **attributes}

    def make_spec(
        target: AnyCallable, default_name: str, code: Mapping[str, AttributeValue]
    ) -> SpanSpec:
        arguments = ArgumentCapture(target, capture_args)
        return SpanSpec(
            name=name,
            kind=SpanKind.CLIENT,
            attributes={**code, **given},
            expected=expected,
            on_start=Request(arguments, operation, dynamic=not model),
            watch=Answer,
        )

    return make_spec
