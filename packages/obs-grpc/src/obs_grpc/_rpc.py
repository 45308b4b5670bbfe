"""An RPC in progress with the span, for client and server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from grpc import StatusCode
from obs_core.integration import (
    KEPT_HEADER,
    call_contained,
    context_with,
    log_failure,
    note_kept,
)
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind

from obs_grpc._attributes import Attributes
from obs_grpc._outcome import record_outcome
from obs_grpc._propagation import Pair
from obs_grpc._semconv import REQUESTS, RESPONSES
from obs_grpc._state import Instrumentation, Method

Codec = Callable[[Any], Any]
_NO_ATTRIBUTES: Attributes = {}
_NO_RESPONSE = object()


class Rpc:
    """An RPC and the span, which ends once: at the first call of `end`, or when the RPC is no longer referenced.

    Attributes:
        context: The context with the span.
        requests: The number of requests serialized (client) or deserialized (server), if counted.
        responses: The number of responses, likewise.
        attributes: Further attributes, recorded at the end of the span.
        ends_with_response: Whether the end waits for the response to be read, after the code is known.
    """

    __slots__ = (
        "_open",
        "_response",
        "attributes",
        "context",
        "ends_with_response",
        "instrumentation",
        "requests",
        "responses",
        "span",
    )

    def __init__(self, instrumentation: Instrumentation) -> None:
        self.instrumentation = instrumentation
        self.requests: int | None = None
        self.responses: int | None = None
        self.attributes: Attributes = _NO_ATTRIBUTES
        self.span: Span = INVALID_SPAN
        self.context = Context()
        self._open: list[bool] = []
        self._response: object = _NO_RESPONSE
        self.ends_with_response = False

    def start(self, method: Method, parent: Context) -> None:
        """Start the span below `parent`."""
        self.span = self.instrumentation.start_span(method, parent)
        self.context = context_with(self.span, parent)
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
        """Record the outcome and end the span, unless ended already. Never raises; thread-safe.

        Args:
            code: The RPC's status code; None: unknown.
            details: The text that the peer sent, or received, with the code.
            error: The exception on this side, to be recorded.
        """
        if not self._open:
            return
        try:
            self._open.pop()  # atomic: of two threads that end an RPC, the second gets an IndexError
        except IndexError:
            return
        try:
            self._record(code)
            self._tell_end(code)
            record_outcome(self.span, self.instrumentation.errors, code, details, error)
            self.span.end()
        except Exception:  # noqa: BLE001 - span processors are the user's
            log_failure("ending a gRPC span")

    def hear_from(self, source: Any) -> None:
        """Read the trailing metadata of a call, which has methods, or of a call's state, which has values."""
        trailers = getattr(source, "trailing_metadata", None)
        self.hear(trailers() if callable(trailers) else trailers)

    def hear(self, trailers: Iterable[Pair] | None) -> None:
        """Keep the unsampled request, if the server says in its trailing metadata that its part is kept."""
        for key, value in trailers or ():
            if key == KEPT_HEADER:
                note_kept(self.span, value)

    def _record(self, code: StatusCode | None) -> None:
        attributes = dict(self.attributes)
        if code is not None:
            attributes.update(self.instrumentation.names.codes[code])
        if self.requests is not None:
            attributes[REQUESTS] = self.requests
        if self.responses is not None:
            attributes[RESPONSES] = self.responses
        self.span.set_attributes(attributes)

    def _tell_end(self, code: StatusCode | None) -> None:
        response, self._response = self._response, _NO_RESPONSE
        hook = self.instrumentation.options.on_end
        if hook is not None and code is StatusCode.OK and response is not _NO_RESPONSE:
            call_contained("gRPC on_end", hook, self.span, response)

    def kept(self, codec: Codec | None) -> Codec:
        """Return `codec` (of a single response), keeping the message for the user's hook until the end."""

        def keeping_response(message: Any) -> Any:
            self._response = message if codec is None else codec(message)
            return self._response

        return keeping_response

    def counted(
        self, codec: Codec | None, *, responses: bool, count: bool = True
    ) -> Codec:
        """Return `codec` (a serializer or deserializer; None: bytes pass unchanged), counting the messages.

        Without `count`, messages have events only. Exceptions of `codec` propagate.
        """
        sent = responses is (self.instrumentation.kind is SpanKind.SERVER)
        has_events = self.instrumentation.options.include_message_events
        attribute = "responses" if responses else "requests"
        if count:
            setattr(self, attribute, 0)
        number = 0

        def counting(message: Any) -> Any:
            nonlocal number
            result = message
            if codec is not None:
                result = codec(message)
            number += 1
            if count:
                setattr(self, attribute, number)
            if has_events:
                self.add_message_event(sent=sent, number=number)
            return result

        return counting

    def add_message_event(self, *, sent: bool, number: int) -> None:
        """Add the event of a message: the `number`-th in this direction, from 1."""
        direction = "SENT" if sent else "RECEIVED"
        self.span.add_event(
            "rpc.message", {"rpc.message.type": direction, "rpc.message.id": number}
        )

    def __del__(self) -> None:
        if self._open:
            self.end(StatusCode.CANCELLED)
