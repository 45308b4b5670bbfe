"""One call of a client, and each request on its way that it leads to."""

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
    """One call of a client's ``send``: all the requests that it leads to belong together.

    Attributes:
        sent: How many requests it has sent so far: redirects and authentication send more than one.
        first: The first one's span, the parent of the others where the call itself has none: one trace in any case.
        busy: Whether a request is being sent just now, so that a second instrumentation stands aside.
    """

    sent: int = 0
    first: SpanContext | None = None
    busy: bool = field(default=False)


current_call: ContextVar[Call | None] = ContextVar("obs_http_call", default=None)


class Target(NamedTuple):
    """Where a request goes."""

    method: str
    url: str
    host: str
    port: int | None


class Hop:
    """A request on its way: its span, current until the response's headers are there."""

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
        """Whether anybody wants to know how it ends."""
        return self._stopwatch is not None or self.span.is_recording()

    def note(self, name: str, value: AttributeValue) -> None:
        """Record what both the span and the measurement say."""
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
