"""Run functions and coroutine functions under a span."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.trace import Span

from obs_core._decorators.spec import AnyCallable, SpanSpec
from obs_core._safety.containment import log_failure
from obs_core._spans.in_context import context_with
from obs_core._spans.runtime_context import attach, detach, get_current
from obs_core._spans.tracer import needed_tracer


def trace_call(function: AnyCallable, spec: SpanSpec) -> AnyCallable:
    """Wrap a plain callable."""
    begin, failed = spec.starter(), spec.failed

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        tracer = needed_tracer()
        if tracer is None:
            return function(*args, **kwargs)
        context = get_current()
        span = begin(tracer, context, args, kwargs)
        if span is None:
            return function(*args, **kwargs)
        token = attach(context_with(span, context))
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            failed(span, error)
            raise
        finally:
            detach(token)
            end_span(span)

    return wrapper


def trace_coroutine(function: AnyCallable, spec: SpanSpec) -> AnyCallable:
    """Wrap a coroutine function, or a function that returns an awaitable."""
    begin, failed = spec.starter(), spec.failed

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        tracer = needed_tracer()
        if tracer is None:
            return await function(*args, **kwargs)
        context = get_current()
        span = begin(tracer, context, args, kwargs)
        if span is None:
            return await function(*args, **kwargs)
        own, closed = context_with(span, context), False
        token = attach(own)
        try:
            return await function(*args, **kwargs)
        except BaseException as error:
            closed = isinstance(error, GeneratorExit)
            failed(span, error)
            raise
        finally:
            # closed by the garbage collector we may be in a foreign context, where the token is void
            if not closed or get_current() is own:
                detach(token)
            end_span(span)

    return wrapper


def span_starter(
    spec: SpanSpec,
) -> Callable[[tuple[Any, ...], dict[str, Any]], Span | None]:
    """Return a function that starts the span of a call below the current span, or None if no span is needed."""
    begin = spec.starter()

    def start(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Span | None:
        tracer = needed_tracer()
        if tracer is None:
            return None
        return begin(tracer, get_current(), args, kwargs)

    return start


def end_span(span: Span) -> None:
    """End `span`; a processor that raises is contained."""
    try:
        span.end()
    except Exception:  # noqa: BLE001 - a foreign processor may raise anything
        log_failure("ending a span")
