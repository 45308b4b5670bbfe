"""Run functions and coroutine functions under a span: its start, its end, the wrappers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.util.types import AttributeValue

from obs_core._decorators.generator_context import Steps, Watcher
from obs_core._safety.containment import call_contained, log_failure
from obs_core._spans.errors import error_message, error_type, record_error
from obs_core._spans.tracer import needed_tracer

CANCELLED = "obs.cancelled"
AnyCallable = Callable[..., Any]
OnStart = Callable[[Span, tuple[Any, ...], dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The span of a decorated callable.

    Attributes:
        name: The span's name.
        kind: The span's kind.
        attributes: Start attributes; shared by all calls, never changed.
        expected: Exceptions that are an answer, not an error.
        on_start: Called with a recording span and the call's arguments; exceptions are contained.
        watch: Makes a watcher for a generator's items.
    """

    name: str
    kind: SpanKind
    attributes: Mapping[str, AttributeValue]
    expected: tuple[type[BaseException], ...] = ()
    on_start: OnStart | None = None
    watch: Callable[[Span], Watcher] | None = None

    def starter(self) -> Callable[[Tracer, Context, tuple[Any, ...], dict[str, Any]], Span | None]:
        """Return a function that starts the span of a call below a context; the function returns None on failure."""
        name, kind, attributes, on_start = self.name, self.kind, self.attributes, self.on_start

        def begin(
            tracer: Tracer, context: Context, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Span | None:
            try:
                span = tracer.start_span(name, context, kind, attributes)
            except Exception:  # noqa: BLE001 - a foreign sampler or processor may raise anything
                log_failure("starting a span")
                return None
            if on_start is not None and span.is_recording():
                call_contained("describing a call", on_start, span, args, kwargs)
            return span

        return begin

    def failed(self, span: Span, error: BaseException) -> None:
        """Tell `span` how the call ended: an error, unless `error` is expected, a cancellation or a regular exit."""
        call_contained("recording an error", self._tell, span, error)

    def _tell(self, span: Span, error: BaseException) -> None:
        if _is_cancellation(error):
            span.set_attribute(CANCELLED, True)
        elif not isinstance(error, (GeneratorExit, *self.expected)) and not _is_clean_exit(error):
            _record_once(span, error)

    def steps(self, span: Span) -> Steps:
        """The bookkeeping of a generator."""
        return Steps(
            span, self.failed, self.watch(span) if self.watch and span.is_recording() else None
        )


def _is_cancellation(error: BaseException) -> bool:
    # asyncio is a third of what importing obs_core would cost, and without it nothing of it was raised
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def _is_clean_exit(error: BaseException) -> bool:
    return isinstance(error, SystemExit) and not error.code


def _record_once(span: Span, error: BaseException) -> None:
    """Record `error`, without a second event if the call has recorded this error already."""
    kind, message = error_type(error), error_message(error)
    told = (
        event.attributes or {} for event in getattr(span, "events", ()) if event.name == "exception"
    )
    if any(
        event.get("exception.type") == kind and event.get("exception.message") == message
        for event in told
    ):
        span.set_attribute("error.type", kind)
        span.set_status(Status(StatusCode.ERROR, message))
    else:
        record_error(span, error)


def trace_call(function: AnyCallable, plan: Plan) -> AnyCallable:
    """Wrap a plain callable."""
    begin, failed = plan.starter(), plan.failed

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        tracer = needed_tracer()
        if (
            tracer is None
            or (span := begin(tracer, context := get_current(), args, kwargs)) is None
        ):
            return function(*args, **kwargs)
        token = attach(set_span_in_context(span, context))
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            failed(span, error)
            raise
        finally:
            detach(token)
            end_span(span)

    return wrapper


def trace_coroutine(function: AnyCallable, plan: Plan) -> AnyCallable:
    """Wrap a coroutine function, or a function that returns an awaitable."""
    begin, failed = plan.starter(), plan.failed

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        tracer = needed_tracer()
        if (
            tracer is None
            or (span := begin(tracer, context := get_current(), args, kwargs)) is None
        ):
            return await function(*args, **kwargs)
        own, closed = set_span_in_context(span, context), False
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


def span_starter(plan: Plan) -> Callable[[tuple[Any, ...], dict[str, Any]], Span | None]:
    """Return a function that starts the span of a call below the current span, or None if no span is needed."""
    begin = plan.starter()

    def start(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Span | None:
        tracer = needed_tracer()
        return None if tracer is None else begin(tracer, get_current(), args, kwargs)

    return start


def end_span(span: Span) -> None:
    """End `span`; a processor that raises is contained."""
    try:
        span.end()
    except Exception:  # noqa: BLE001 - a foreign processor may raise anything
        log_failure("ending a span")
