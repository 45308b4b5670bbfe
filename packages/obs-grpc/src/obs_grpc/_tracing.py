"""What both sides share: one instrumentation, the methods it traces, and the span of one RPC."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, NamedTuple

from grpc import StatusCode
from obs_core.integration import fail, is_suppressed, log_failure, package_tracer, record_error
from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind

from obs_grpc._options import Options
from obs_grpc._semconv import CLIENT_ERRORS, REQUESTS, RESPONSES, SERVER_ERRORS, Attributes, Names

Codec = Callable[[Any], Any]
_NOTHING: Attributes = {}
_METHODS_KEPT = 1024  # on a server the names come from outside


class Method(NamedTuple):
    """A traced method: the name of its spans (``package.Service/Method``) and what is known as they start."""

    name: str
    attributes: Attributes


class Tracing:
    """One instrumentation of one side: what to trace, with which tracer, and whether it is still on. Thread-safe.

    Attributes:
        active: False once uninstrumented: what was instrumented then behaves as if it never had been.
        method: Returns the `Method` for a full method name, or None where it is not to be traced.
    """

    __slots__ = (
        "__weakref__",
        "_tracer",
        "active",
        "errors",
        "kind",
        "message_events",
        "method",
        "names",
        "options",
    )

    def __init__(self, kind: SpanKind, options: Options) -> None:
        self.active = True
        self.kind = kind
        self.options = options
        self.message_events = options.message_events
        self.names = Names()
        self.errors: Collection[StatusCode] = (
            SERVER_ERRORS if kind is SpanKind.SERVER else CLIENT_ERRORS
        )
        self.method = lru_cache(maxsize=_METHODS_KEPT)(self._method)
        self._tracer = package_tracer("obs-grpc", options.tracer_provider)

    def _method(self, full_method: str) -> Method | None:
        if not self.options.trace(full_method):
            return None
        name = full_method.lstrip("/")
        return Method(name, self.names.rpc(name))

    def start_span(self, method: Method, parent: Context) -> Span:
        """Start the span of an RPC below `parent`; never raises: a sampler's or a processor's failure costs the span alone."""
        try:
            return self._tracer.start_span(method.name, parent, self.kind, method.attributes)
        except Exception:  # noqa: BLE001 - samplers and span processors are the user's
            log_failure("starting a gRPC span")
            return INVALID_SPAN


class Rpc:
    """One RPC being traced. Ends its span once, whoever says so first, at the latest when it is no longer referenced.

    Attributes:
        context: The context with the span in it.
        requests: How many requests have been serialized (client) or deserialized (server) so far, where that is counted.
        responses: Likewise the responses.
        attributes: What else is to be recorded as the span ends.
    """

    __slots__ = ("_open", "attributes", "context", "requests", "responses", "span", "tracing")

    def __init__(self, tracing: Tracing) -> None:
        self.tracing = tracing
        self.requests: int | None = None
        self.responses: int | None = None
        self.attributes: Attributes = _NOTHING
        self.span: Span = INVALID_SPAN
        self.context = Context()
        self._open: list[bool] = []

    def start(self, method: Method, parent: Context) -> None:
        """Start the span below `parent`."""
        self.span = self.tracing.start_span(method, parent)
        self.context = trace.set_span_in_context(self.span, parent)
        if self.span.is_recording():
            self._open.append(True)

    @property
    def is_open(self) -> bool:
        """Whether the span records and has not ended."""
        return bool(self._open)

    def end(
        self,
        code: StatusCode | None,
        details: str | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Record how the RPC ended, and end the span, unless it has ended. Never raises; thread-safe.

        Args:
            code: The RPC's status code; None: it is not known.
            details: What the peer was or has been told beside the code.
            error: What went wrong here, to be recorded as an exception.
        """
        if not self._open:
            return
        try:
            self._open.pop()  # atomic: of two threads that end an RPC one gets further
        except IndexError:
            return
        try:
            self._record(code, details, error)
            self.span.end()
        except Exception:  # noqa: BLE001 - span processors are the user's
            log_failure("ending a gRPC span")

    def _record(
        self, code: StatusCode | None, details: str | None, error: BaseException | None
    ) -> None:
        span = self.span
        attributes = {
            **(self.tracing.names.codes[code] if code is not None else _NOTHING),
            **self.attributes,
        }
        if self.requests is not None:
            attributes[REQUESTS] = self.requests
        if self.responses is not None:
            attributes[RESPONSES] = self.responses
        span.set_attributes(attributes)
        if error is not None and (code is None or code in self.tracing.errors):
            record_error(span, error)
        elif error is not None:
            span.record_exception(
                error
            )  # a code that is no failure of this side, set on purpose, is not made one
        elif code in self.tracing.errors and code is not None:
            fail(span, code.name, details or code.name)

    def counted(self, codec: Codec | None, *, responses: bool, count: bool = True) -> Codec:
        """Return `codec` (a serializer or deserializer; None: the bytes as they are), counting what goes through it.

        One that raises is none of our business: it passes.
        """
        sent = responses is (self.tracing.kind is SpanKind.SERVER)
        attribute = "responses" if responses else "requests"
        if count:
            setattr(self, attribute, 0)
        number = 0

        def counting(message: Any) -> Any:
            nonlocal number
            result = codec(message) if codec is not None else message
            number += 1
            if count:
                setattr(self, attribute, number)
            if self.tracing.message_events:
                self.tell_message(sent=sent, number=number)
            return result

        return counting

    def tell_message(self, *, sent: bool, number: int) -> None:
        """Add the event of message `number` (from 1) in its direction."""
        self.span.add_event(
            "rpc.message",
            {"rpc.message.type": "SENT" if sent else "RECEIVED", "rpc.message.id": number},
        )

    def __del__(self) -> None:
        if self._open:
            self.end(StatusCode.CANCELLED)


def start_client_rpc(tracing: Tracing, method: Method) -> Rpc | None:
    """Start an RPC's CLIENT span below the current one; None where the instrumentation is off.

    Under suppressed instrumentation there is no span, yet the current context still goes out.
    """
    if not tracing.active:
        return None
    rpc, current = Rpc(tracing), get_current()
    if is_suppressed(current):
        rpc.context = current
    else:
        rpc.start(method, current)
    return rpc
