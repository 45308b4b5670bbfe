"""The span of a decorated callable: name, kind, attributes, hooks, and errors that are none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Tracer
from opentelemetry.util.types import AttributeValue

from obs_core._decorators.generator_span import GeneratorSpan, Watcher
from obs_core._safety.containment import call_contained, log_failure
from obs_core._spans.errors import error_message, error_type, fail, record_error

CANCELLED = "obs.cancelled"
AnyCallable = Callable[..., Any]
OnStart = Callable[[Span, tuple[Any, ...], dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanSpec:
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

    def starter(
        self,
    ) -> Callable[[Tracer, Context, tuple[Any, ...], dict[str, Any]], Span | None]:
        """Return a function that starts the span of a call below a context; the function returns None on failure."""
        name, kind, attributes, on_start = (
            self.name,
            self.kind,
            self.attributes,
            self.on_start,
        )

        def begin(
            tracer: Tracer,
            context: Context,
            args: tuple[Any, ...],
            kwargs: dict[str, Any],
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
        """Record `error` on `span`, unless it is expected, a cancellation or a regular exit. Never raises."""
        call_contained("recording an error", self._record, span, error)

    def _record(self, span: Span, error: BaseException) -> None:
        if _is_cancellation(error):
            span.set_attribute(CANCELLED, True)
            return
        is_expected = isinstance(error, (GeneratorExit, *self.expected))
        if not is_expected and not _is_clean_exit(error):
            _record_once(span, error)

    def generator_span(self, span: Span) -> GeneratorSpan:
        """Return the bookkeeping of a generator's items for `span`."""
        watcher = None
        if self.watch is not None and span.is_recording():
            watcher = self.watch(span)
        return GeneratorSpan(span, self.failed, watcher)


def _is_cancellation(error: BaseException) -> bool:
    # asyncio is a third of what importing obs_core would cost, and without it nothing of it was raised
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def _is_clean_exit(error: BaseException) -> bool:
    return isinstance(error, SystemExit) and not error.code


def _record_once(span: Span, error: BaseException) -> None:
    """Record `error`, without a second event if the call has recorded this error already."""
    kind, message = error_type(error), error_message(error)
    if _has_event(span, kind, message):
        fail(span, kind, message)
    else:
        record_error(span, error)


def _has_event(span: Span, kind: str, message: str) -> bool:
    return any(
        event.name == "exception" and _describes(event.attributes or {}, kind, message)
        for event in getattr(span, "events", ())
    )


def _describes(
    attributes: Mapping[str, AttributeValue], kind: str, message: str
) -> bool:
    recorded = attributes.get("exception.type"), attributes.get("exception.message")
    return recorded == (kind, message)
