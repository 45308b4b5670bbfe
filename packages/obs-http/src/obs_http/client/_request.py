"""A call of an HTTP client, and each request that the call sends."""

from __future__ import annotations

from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import NamedTuple

from obs_core.integration import call_contained
from opentelemetry import context
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext
from opentelemetry.util.types import AttributeValue

from obs_http._metrics import Stopwatch
from obs_http._semconv import OlderNames, add_older_names


@dataclass(slots=True)
class Call:
    """A call of a client's ``send``: all requests that the call sends belong together.

    Attributes:
        sent: Number of requests sent so far: redirects and authentication send more than one.
        first: Span of the first request: the parent of later requests if the call has no parent, to keep a single
            trace.
        busy: Whether a request is being sent now; a second instrumentation then does nothing.
    """

    sent: int = 0
    first: SpanContext | None = None
    busy: bool = field(default=False)


current_call: ContextVar[Call | None] = ContextVar("obs_http_call", default=None)


class Target(NamedTuple):
    """The destination of a request."""

    method: str
    url: str
    host: str
    port: int | None


class Hop:
    """A request being sent: its span is current until the response's headers arrive."""

    __slots__ = ("_call", "_older_names", "_stopwatch", "_token", "span")

    def __init__(
        self,
        span: Span,
        inner: Context,
        call: Call,
        stopwatch: Stopwatch | None,
        older_names: OlderNames,
    ) -> None:
        self.span = span
        self._call = call
        self._stopwatch = stopwatch
        self._older_names = older_names
        self._token: Token[Context] = context.attach(inner)
        call.busy = True

    @property
    def is_observed(self) -> bool:
        """Whether the outcome is recorded, by the span or the metric."""
        return self._stopwatch is not None or self.span.is_recording()

    def note(self, name: str, value: AttributeValue) -> None:
        """Record an attribute on the span and the measurement."""
        self.span.set_attribute(name, value)
        if self._stopwatch is not None:
            self._stopwatch.attributes[name] = value

    def end(self) -> None:
        """End the span and restore the context."""
        self._call.busy = False
        if self._stopwatch is not None:
            self._stopwatch.stop()
        context.detach(self._token)
        if self._older_names and self.span.is_recording():
            call_contained(
                "adding older names to a span", add_older_names, self.span, self._older_names, {}
            )
        call_contained("ending a request's span", self.span.end)
