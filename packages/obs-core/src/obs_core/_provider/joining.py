"""Tracers of libraries that trace their calls of language models: below `trace_llm`, they join the span that it has opened.

Two spans for one call would count its tokens twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanContext
from opentelemetry.util.types import Attributes, AttributeValue

from obs_core._integrations.native import (
    in_conventions_words,
    join_once,
    native_tracer,
)
from obs_core._llm.capture import CONTENT, captures_content

_OPERATION, _OURS = "gen_ai.operation.name", "obs_core"


def joins(scope: str) -> bool:
    """Whether the tracer of `scope` makes spans of calls that `trace_llm` may have opened."""
    native = native_tracer(scope)
    return native is not None and native.call == "model"


class JoiningTracer(trace.Tracer):
    """A library's tracer, whose first span below an open call of `trace_llm` is that call's."""

    def __init__(self, tracer: trace.Tracer, scope: InstrumentationScope) -> None:
        self._tracer = tracer
        self._scope = scope

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: trace.SpanKind = trace.SpanKind.INTERNAL,
        attributes: Attributes = None,
        *args: Any,
        **options: Any,
    ) -> Span:
        """Start a span, or join the open one."""
        opened = _open_call(context)
        if opened is None:
            return self._tracer.start_span(
                name, context, kind, attributes, *args, **options
            )
        joined = JoinedSpan(opened, self._scope)
        joined.set_attributes(dict(attributes or {}))
        return joined

    @contextmanager
    def start_as_current_span(  # type: ignore[override] # the further parameters are passed as they come
        self, name: str, *args: Any, end_on_exit: bool = True, **options: Any
    ) -> Iterator[Span]:
        """Start a span, or join the open one, current in a block."""
        span = self.start_span(name, *args, **options)
        with trace.use_span(span, end_on_exit=end_on_exit):
            yield span


class JoinedSpan(Span):
    """A library's view of a span that is open already: it adds attributes, and leaves name, status and end to the owner."""

    def __init__(self, opened: Span, scope: InstrumentationScope) -> None:
        self._opened: Any = opened
        self.instrumentation_scope: InstrumentationScope = scope
        native = native_tracer(scope.name)
        self._names: Mapping[str, str] = native.names if native else {}

    def get_span_context(self) -> SpanContext:
        """Return the ids of the open span."""
        context: SpanContext = self._opened.get_span_context()
        return context

    def is_recording(self) -> bool:
        """Whether the open span still records."""
        recording: bool = self._opened.is_recording()
        return recording

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set what the owner has not set, by the conventions' name.

        Whether it is an error is the owner's to say, and whether messages are recorded is the user's.
        """
        key, value = in_conventions_words(self._names, key, value)
        if key in CONTENT and not captures_content():
            return
        is_free = key != "error.type" and key not in self._opened.attributes
        if is_free and self.is_recording():
            self._opened.set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set several."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """Add an event."""
        if self.is_recording():
            self._opened.add_event(name, attributes, timestamp)

    def update_name(self, name: str) -> None:
        """Leave the name."""

    def set_status(self, status: Any, description: str | None = None) -> None:
        """Leave the status."""

    def record_exception(self, *args: Any, **options: Any) -> None:
        """Leave exceptions to the owner, who records each once."""

    def end(self, end_time: int | None = None) -> None:
        """Leave the end."""


def _open_call(context: Context | None) -> Span | None:
    """Return the span of `trace_llm` that is current in `context` and that no call has joined; the caller joins it."""
    span = trace.get_current_span(context)
    if not isinstance(span, SdkSpan) or not span.is_recording():
        return None
    scope = span.instrumentation_scope
    is_ours = scope is not None and scope.name == _OURS
    if not is_ours or _OPERATION not in (span.attributes or {}):
        return None
    return span if join_once(span) else None
