"""The context manager of `start_as_current_span`, without a generator, and the span and ids of a context."""

from __future__ import annotations

import functools
import inspect
from contextlib import ContextDecorator
from types import TracebackType
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    Span,
    SpanContext,
    Status,
    StatusCode,
    Tracer,
)

from obs_core._spans.in_context import context_with
from obs_core._spans.light import LightSpan
from obs_core._spans.runtime_context import attach, detach
from obs_core._spans.tracer import SPAN_KEY

_SPANS = (LightSpan, NonRecordingSpan)


def span_of(context: Context) -> Span:
    """Return the span of `context`, as `get_current_span` does; invalid outside any trace."""
    found: Any = context.get(SPAN_KEY)
    # the plain types first: the check of an abstract class is a call
    is_span = type(found) in _SPANS or isinstance(found, Span)
    return found if is_span else INVALID_SPAN


def ids_of(span: object) -> SpanContext | None:
    """Return the ids of `span`, if it is a span and they are valid; otherwise None."""
    if type(span) is LightSpan:
        found: SpanContext = span._context
    elif type(span) is NonRecordingSpan or (
        isinstance(span, Span) and isinstance(span.get_span_context(), SpanContext)
    ):
        found = span.get_span_context()
    else:
        return None
    return found if found[5] else None


class CurrentSpan(ContextDecorator):
    """Starts a span at the entry of a block, or of each call of a decorated function, and ends the span at the exit.

    Behaves as `opentelemetry.trace.use_span`.

    Args:
        tracer: Starts the span.
        start: The arguments of `start_span`; the last two say whether an exception is recorded, and sets the status.
        ends: End the span at the exit.
    """

    __slots__ = ("_ends", "_span", "_start", "_token", "_tracer")

    def __init__(self, tracer: Tracer, start: tuple[Any, ...], ends: bool) -> None:
        self._tracer = tracer
        self._start = start
        self._ends = ends

    def __enter__(self) -> Span:
        self._span = span = self._tracer.start_span(*self._start)
        self._token = attach(context_with(span))
        return span

    def __exit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        detach(self._token)
        try:
            # GeneratorExit, KeyboardInterrupt and the like are no errors
            if isinstance(error, Exception) and self._span.is_recording():
                self._tell(error)
        finally:
            if self._ends:
                self._span.end()

    def _tell(self, error: Exception) -> None:
        *_, is_recorded, sets_status = self._start
        if is_recorded:
            self._span.record_exception(error)
        if sets_status:
            self._span.set_status(
                Status(StatusCode.ERROR, f"{type(error).__name__}: {error}")
            )

    def _recreate_cm(self) -> CurrentSpan:
        """Return a context manager for a single call of a decorated function."""
        return CurrentSpan(self._tracer, self._start, self._ends)

    def __call__(self, function: Any) -> Any:
        if not inspect.iscoroutinefunction(function):
            return super().__call__(function)

        @functools.wraps(function)
        async def traced(*args: Any, **kwargs: Any) -> Any:
            with self._recreate_cm():
                return await function(*args, **kwargs)

        return traced
