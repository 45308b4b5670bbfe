"""A request and its response: messages in both directions, headers of the response, end of the span."""

from __future__ import annotations

from time import perf_counter, time_ns

from obs_core.integration import call_contained, log_failure
from opentelemetry import trace
from opentelemetry.trace import Span

from obs_http._metrics import Stopwatch
from obs_http.server._enrich import enrich
from obs_http.server._exceptions import error_being_answered, raised_in_background, record_late
from obs_http.server._native import is_on_task_span, note_natively
from obs_http.server._options import ServerOptions
from obs_http.server._outcome import RequestRecord
from obs_http.server._types import EDGE, Message, Receive, Scope, Send, is_last


class Exchange(RequestRecord):
    """A request in progress: forwards the messages of client and application.

    Args:
        receive: The server's receive function.
        send: The server's send function.
        correlation_id: The request's correlation id, for the response.

    Other arguments: see `RequestRecord`.
    """

    __slots__ = ("_receive", "_send", "_started", "_trailers", "correlation_id")

    def __init__(
        self,
        options: ServerOptions,
        scope: Scope,
        receive: Receive,
        send: Send,
        span: Span,
        *,
        owned: bool,
        records_errors: bool,
        correlation_id: str | None,
        stopwatch: Stopwatch | None,
    ) -> None:
        self._started = perf_counter()
        super().__init__(
            options, scope, span, owned=owned, records_errors=records_errors, stopwatch=stopwatch
        )
        self._receive = receive
        self._send = send
        self._trailers = False
        self.correlation_id = correlation_id

    def enrich(self) -> None:
        """Record attributes in addition to the standard set."""
        enrich(self.span, self._scope, self._options, self.correlation_id, owned=self.owned)
        if not self.owned:
            self._add_older_names()

    async def receive(self) -> Message:
        """Forward a message of the client; record disconnects and count messages."""
        message = await self._receive()
        kind = message["type"]
        if kind == "websocket.receive":
            self._received += 1
        elif kind == "http.disconnect" and not self._complete:
            self._disconnected = True
            self.span.set_attribute("obs.disconnected", True)
        return message

    async def send(self, message: Message) -> None:
        """Forward a message of the application with our headers; end the span after the last message."""
        kind = message["type"]
        if kind == "http.response.start":
            self.response_starts(message)
        elif kind == "websocket.send":
            self._sent += 1
        elif kind.startswith("websocket."):
            self._handshake(kind, message)
        await self._send(message)
        if is_last(message, trailers=self._trailers):
            self._complete = True
            self._end()

    def _end(self) -> None:
        if not self.owned or self.status is None or self.status < 500:
            self.finish()
            return
        # the answered exception may still be raised, so the span ends when the application returns
        self._ended_ns = time_ns()
        if self._stopwatch is not None:
            self._stopwatch.hold()

    def response_starts(self, message: Message) -> None:
        """Record the response's status and add our headers; a second call does nothing. Never raises."""
        if self.status is not None:
            return
        try:
            self.status = message["status"]
            self._trailers = bool(message.get("trailers"))
            self._routed()
            if self.status >= 500 and (error := error_being_answered(self._scope)) is not None:
                self._note(error)
                note_natively(self._scope, error)
            elapsed_s = perf_counter() - self._started
            self._options.add_headers(message, self.correlation_id, self.span, elapsed_s)
            if self.span.is_recording():
                captured = self._options.captured_response(message.get("headers", ()))
                self.span.set_attributes(captured)
        except Exception:  # noqa: BLE001 - telemetry's failure is not the response's
            log_failure("tracing a response")

    def _routed(self) -> None:
        """Name a span that other code ends, because that span ends before `finish`."""
        if not self.owned and self.span.is_recording():
            self._name_span()
            self._add_older_names()
        elif self._scope.get("fastapi.telemetry") is not None:
            self._route()

    def _handshake(self, kind: str, message: Message) -> None:
        if kind == "websocket.http.response.start":
            self.status = message["status"]
        elif self.status is None:
            # as servers answer: 101 Switching Protocols, or 403 for a session closed before accepted
            self.status = 101 if kind == "websocket.accept" else 403
        if not self.owned:
            self.span.set_attribute("http.response.status_code", self.status)
        call_contained("finding a session's route", self._routed)

    def failed(self, error: BaseException, tracer: trace.Tracer) -> None:
        """Record an exception of the application; the caller re-raises. Never raises."""
        try:
            if self._is_late(error):
                self._note_late(error, tracer)
            else:
                self._note(error)
        except Exception:  # noqa: BLE001 - telemetry's failure is not the request's
            log_failure("recording an application's exception")

    def _is_late(self, error: BaseException) -> bool:
        """Whether `error` belongs to a background task, after the request was answered."""
        if not self._complete or self._failed is not None:
            return False
        return self._ended_ns is None or raised_in_background(error)

    def _note_late(self, error: BaseException, tracer: trace.Tracer) -> None:
        if not isinstance(error, Exception) or not self.records_errors:
            return
        if not is_on_task_span(error):
            record_late(error, self.span, tracer)

    async def conclude(self) -> None:
        """Tell FastAPI's telemetry that the request is over, if the client has left the response.

        Otherwise FastAPI would report a server error. The message is dropped by the `Edge`.
        """
        if not self._is_left() or self._scope.get("fastapi.telemetry") is None:
            return
        edge = self._scope.get(EDGE)
        if edge is None:
            return
        edge.is_closed = True
        try:
            self._count()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        except Exception:  # noqa: BLE001 - a middleware further out may not like it
            log_failure("ending a response that its client has left")

    def close(self) -> None:
        """End the request: the application has returned, or raised."""
        if self._failed and EDGE in self._scope:
            return  # the error handler outside of us answers next, seen by the edge
        if self._failed and self.status is None and self._scope["type"] == "http":
            self.status = 500
        self.finish()
