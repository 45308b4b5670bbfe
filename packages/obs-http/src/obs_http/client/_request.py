"""A call of an HTTP client, and each request that the call sends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from obs_core.integration import call_contained
from opentelemetry import context
from opentelemetry.context import Context
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from obs_http._measurement import Measurement

if TYPE_CHECKING:
    from obs_http.client._tracer import ClientTracer


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
    first: Span | None = None
    busy: bool = False


current_call: ContextVar[Call | None] = ContextVar("obs_http_call", default=None)


def is_between_requests() -> bool:
    """Whether a call is under way that has sent a request, and is not sending one now."""
    call = current_call.get()
    return call is not None and call.sent > 0 and not call.busy


class ClientRequest:
    """A request being sent: a context manager whose span is current until the response's headers arrive.

    Attributes:
        is_told: Whether the server has been sent the trace context: then its word on the trace counts.
    """

    __slots__ = ("_call", "_token", "_tracer", "is_told", "measurement", "span")

    def __init__(
        self,
        tracer: ClientTracer,
        call: Call,
        span: Span,
        inner: Context,
        measurement: Measurement | None,
    ) -> None:
        self._tracer = tracer
        self._call = call
        self.span = span
        self.measurement = measurement
        self.is_told = False
        self._token: Token[Context] = context.attach(inner)
        call.busy = True

    def note(self, name: str, value: AttributeValue) -> None:
        """Record an attribute on the span and the measurement."""
        self.span.set_attribute(name, value)
        if self.measurement is not None:
            self.measurement.attributes[name] = value

    def __enter__(self) -> ClientRequest:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """End the span, failed if there is an `error`, and restore the context."""
        if error is not None:
            self._tracer.failed(self, error)
        self._call.busy = False
        if self.measurement is not None:
            self.measurement.stop()
        context.detach(self._token)
        self._tracer.end(self.span)


def run_call(send: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run `send`, a client's, as a call."""
    token = current_call.set(Call())
    try:
        return send(*args, **kwargs)
    finally:
        current_call.reset(token)


async def run_call_async(
    send: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
) -> Any:
    """Run `send`, an asynchronous client's, as a call."""
    token = current_call.set(Call())
    try:
        return await send(*args, **kwargs)
    finally:
        current_call.reset(token)


def send_traced(
    tracer: ClientTracer, send: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Trace a single request, the last of `args` or ``request=``, which `send` sends."""
    sent = kwargs.get("request") or args[-1]
    request = call_contained("tracing a request", tracer.start, sent)
    if request is None:
        return send(*args, **kwargs)
    with request:
        tracer.on_start.call(request.span, sent)
        response = send(*args, **kwargs)
        call_contained("tracing a response", tracer.answered, request, response)
        tracer.on_end.call(request.span, sent, response)
        return response


async def send_traced_async(
    tracer: ClientTracer, send: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
) -> Any:
    """Trace a single request of an asynchronous client: see `send_traced`."""
    sent = kwargs.get("request") or args[-1]
    request = call_contained("tracing a request", tracer.start, sent)
    if request is None:
        return await send(*args, **kwargs)
    with request:
        await tracer.on_start.call_async(request.span, sent)
        response = await send(*args, **kwargs)
        call_contained("tracing a response", tracer.answered, request, response)
        await tracer.on_end.call_async(request.span, sent, response)
        return response
