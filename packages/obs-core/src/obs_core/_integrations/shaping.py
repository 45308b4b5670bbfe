"""A TracerProvider that shapes the spans of an instrumentation without touching the instrumentation.

Contrib's instrumentations accept ``tracer_provider=``. A `ShapingTracerProvider` drops, renames, edits and bounds their
spans on OpenTelemetry's public API.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
)
from opentelemetry.util.types import Attributes, AttributeValue

from obs_core._integrations.span_shape import SpanShape
from obs_core._safety.containment import call_contained
from obs_core._safety.text import truncate
from obs_core._spans.current import CurrentSpan
from obs_core._spans.errors import (
    error_type,
    fail,
    record_error,
    record_exception_event,
)


class ShapingTracerProvider(trace.TracerProvider):
    """Returns tracers of `provider` whose spans go through `shape`.

    Args:
        shape: The changes.
        provider: The provider behind. Default: the global provider, also if set later.

    Thread-safe and fork-safe: without state.
    """

    def __init__(
        self, shape: SpanShape, provider: trace.TracerProvider | None = None
    ) -> None:
        self._shape = shape
        self._provider = provider

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        """Return a tracer of the provider behind, shaped."""
        provider = self._provider or trace.get_tracer_provider()
        tracer = provider.get_tracer(
            instrumenting_module_name,
            instrumenting_library_version,
            schema_url,
            attributes,
        )
        return _ShapingTracer(tracer, self._shape)


class _ShapingTracer(trace.Tracer):
    def __init__(self, tracer: trace.Tracer, shape: SpanShape) -> None:
        self._tracer = tracer
        self._shape = shape

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        shape, given = self._shape, attributes or {}
        parent = trace.get_current_span(context).get_span_context()
        if shape.leaves_out(name, kind, given, parent, context):
            return NonRecordingSpan(parent)
        given = {**shape.added, **given}
        span = self._tracer.start_span(
            shape.name(name, kind, given), context, kind, shape.attributes(given), links, start_time,
            record_exception, set_status_on_exception,
        )  # fmt: skip
        return _ShapedSpan(span, shape) if span.is_recording() else span

    def start_as_current_span(  # type: ignore[override] # the SDK's is a generator
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        start = (name, context, kind, attributes, links, start_time, record_exception)
        return CurrentSpan(self, (*start, set_status_on_exception), end_on_exit)


class _ShapedSpan(Span):
    """The recording span, with the shape applied to writes."""

    __slots__ = ("_shape", "_span")

    def __init__(self, span: Span, shape: SpanShape) -> None:
        self._span = span
        self._shape = shape

    def __getattr__(self, name: str) -> Any:
        return getattr(self._span, name)

    def end(self, end_time: int | None = None) -> None:
        if self._shape.edit and self._span.is_recording():
            call_contained("edit", self._shape.edit, self._span)
        self._span.end(end_time)

    def get_span_context(self) -> SpanContext:
        return self._span.get_span_context()

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        self._span.set_attributes(self._shape.attributes(attributes))

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        shaped = self._shape.value(key, value)
        if shaped is not None:
            self._span.set_attribute(key, shaped)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        self._span.add_event(name, self._shape.attributes(attributes), timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        self._span.add_link(context, self._shape.attributes(attributes))

    def update_name(self, name: str) -> None:
        self._span.update_name(self._shape.short_name(name))

    def is_recording(self) -> bool:
        return self._span.is_recording()

    def set_status(
        self, status: Status | StatusCode, description: str | None = None
    ) -> None:
        code = status if isinstance(status, StatusCode) else status.status_code
        error = sys.exc_info()[1] if self._shape.judges_status else None
        if code is StatusCode.ERROR and self._shape.outcome and error is not None:
            self._is_error(error)
            return
        text = description if isinstance(status, StatusCode) else status.description
        if text is not None and self._shape.description is not None:
            text = call_contained("description", self._shape.description, text)
        if text is not None and self._shape.max_value_bytes is not None:
            text = truncate(text, self._shape.max_value_bytes)
        self._span.set_status(Status(code, text if code is StatusCode.ERROR else None))

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        if self._shape.outcome is None:
            record_exception_event(self, exception, attributes, timestamp)
        elif self._is_error(exception):
            event = {**_without_message(exception), **(attributes or {})}
            self.add_event("exception", event, timestamp)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace_back: TracebackType | None,
    ) -> None:
        if error is not None and self.is_recording():
            if self._shape.outcome is None:
                record_error(self._span, error)
            else:
                self.record_exception(error)
        super().__exit__(kind, error, trace_back)

    def _is_error(self, error: BaseException) -> bool:
        """Record `error` as the shape says; where the shape fails, as an error without a message."""
        assert self._shape.outcome is not None
        verdict = call_contained("outcome", self._shape.outcome, self._span, error)
        if verdict is None:
            fail(self._span, error_type(error), type(error).__name__)
        return verdict is not False


def _without_message(error: BaseException) -> dict[str, str]:
    frames = "".join(traceback.format_tb(error.__traceback__))
    return {"exception.type": error_type(error), "exception.stacktrace": frames}
