"""A request and its response: messages in both directions, and headers of the response."""

from __future__ import annotations

from time import perf_counter

from obs_core.integration import call_contained, keeping, log_failure
from opentelemetry import trace

from obs_http._headers import RawHeaders
from obs_http.server._exceptions import error_being_answered, record_late
from obs_http.server._native import is_on_task_span, note_natively
from obs_http.server._options import Settings
from obs_http.server._outcome import Outcome, State
from obs_http.server._response_headers import tell_kept
from obs_http.server._types import ENTRY, Message, Receive, Scope, Send, is_last


class ServerRequest:
    """A request in progress: forwards the messages of client and application.

    Args:
        settings: The options in force.
        scope: The request's scope.
        receive: The server's receive function.
        send: The server's send function.
        outcome: The request's span and measurement.
        correlation_id: The request's correlation id, for the response.
    """

    __slots__ = (
        "_correlation_id", "_received", "_scope", "_send", "_sent", "_server_receive", "_settings",
        "_started", "_trailers", "outcome",
    )  # fmt: skip

    def __init__(
        self,
        settings: Settings,
        scope: Scope,
        receive: Receive,
        send: Send,
        outcome: Outcome,
        correlation_id: str | None,
    ) -> None:
        self._started = perf_counter()
        self._settings = settings
        self._scope = scope
        self._server_receive = receive
        self._send = send
        self.outcome = outcome
        self._correlation_id = correlation_id
        self._trailers = False
        self._received = self._sent = 0

    def tell_start(self) -> None:
        """Call the user's hook, in the context of the application. Never raises."""
        if (hook := self._settings.on_start) is not None:
            hook.call(self.outcome.span, self._scope)

    async def receive(self) -> Message:
        """Forward a message of the client; record disconnects and count messages."""
        message = await self._server_receive()
        kind = message["type"]
        if kind == "websocket.receive":
            self._received += 1
        elif kind == "http.disconnect":
            self.outcome.leave()
        return message

    async def send(self, message: Message) -> None:
        """Forward a message of the application with our headers; end the span after the last message."""
        kind = message["type"]
        if kind == "http.response.start":
            self.start_response(message)
        elif kind == "websocket.send":
            self._sent += 1
        elif kind.startswith("websocket."):
            self._handshake(kind, message)
        elif (measurement := self.outcome.measurement) is not None:
            measurement.count(message.get("body"))
        await self._send(message)
        if is_last(message, trailers=self._trailers):
            self.outcome.answer()

    def start_response(self, message: Message) -> None:
        """Record the response's status and add our headers; a second call does nothing. Never raises."""
        if self.outcome.status is None:
            try:
                self._start_response(message, message["status"])
            except Exception:  # noqa: BLE001 - telemetry's failure is not the response's
                log_failure("tracing a response")

    def _start_response(self, message: Message, status: int) -> None:
        outcome, span = self.outcome, self.outcome.span
        outcome.status = status
        if outcome.measurement is not None:
            length = _stated_length(message.get("headers", ()))
            outcome.measurement.begin_response(status, length)
        self._trailers = bool(message.get("trailers"))
        self._routed()
        if status >= 500 and (error := error_being_answered(self._scope)) is not None:
            outcome.fail(error)
            note_natively(self._scope, error)
        elapsed_s = perf_counter() - self._started
        self._settings.response_headers.add_to(
            message, self._correlation_id, span, elapsed_s
        )
        if keeping.is_on:
            tell_kept(message, span, fails=status >= 500)
        capture = self._settings.response_capture
        if capture and span.is_recording():
            span.set_attributes(capture.attributes(message.get("headers", ())))
        self._tell_end(message)

    def _tell_end(self, message: Message) -> None:
        if (hook := self._settings.on_end) is not None:
            hook.call(self.outcome.span, self._scope, message)

    def _routed(self) -> None:
        """Name a span that other code ends, because that span ends before `finish`."""
        if not self.outcome.owned and self.outcome.span.is_recording():
            self.outcome.name_span()
            self.outcome.add_former_names()
        elif self._scope.get("fastapi.telemetry") is not None:
            self.outcome.route()

    def _handshake(self, kind: str, message: Message) -> None:
        outcome = self.outcome
        if outcome.status is None:
            self._tell_end(message)
        if kind == "websocket.http.response.start":
            outcome.status = message["status"]
        elif outcome.status is None and kind == "websocket.accept":
            outcome.status = 101
        elif outcome.status is None:
            outcome.status = (
                403  # as servers answer a session that is closed before accepted
            )
        if not outcome.owned and outcome.status is not None:
            outcome.span.set_attribute("http.response.status_code", outcome.status)
        call_contained("finding a session's route", self._routed)

    def fail(self, error: BaseException, tracer: trace.Tracer) -> None:
        """Record an exception of the application; the caller re-raises. Never raises."""
        try:
            if not self.outcome.is_late(error):
                self.outcome.fail(error)
            elif isinstance(error, Exception) and self.outcome.records_errors:
                self._record_late(error, tracer)
        except Exception:  # noqa: BLE001 - telemetry's failure is not the request's
            log_failure("recording an application's exception")

    def _record_late(self, error: Exception, tracer: trace.Tracer) -> None:
        if not is_on_task_span(error):
            record_late(error, self.outcome.span, tracer)

    async def conclude(self) -> None:
        """Tell FastAPI's telemetry that the request is over, if the client has left the response.

        Otherwise FastAPI would report a server error. The message is dropped by the `Entry`.
        """
        entry = self._scope.get(ENTRY)
        native = self._scope.get("fastapi.telemetry")
        if entry is None or native is None or not self.outcome.is_broken_off():
            return
        entry.is_closed = True
        try:
            await self._send(
                {"type": "http.response.body", "body": b"", "more_body": False}
            )
        except Exception:  # noqa: BLE001 - a middleware further out may not like it
            log_failure("ending a response that its client has left")

    def close(self) -> None:
        """End the request: our application has returned, or raised."""
        if self.outcome.state is State.FAILED:
            if ENTRY in self._scope:
                return  # the error handler outside of us answers next, seen by the entry
            if self.outcome.status is None and self._scope["type"] == "http":
                self.outcome.status = 500
        self.finish()

    def finish(self) -> None:
        """End the request: everything has returned, or raised."""
        if self._scope["type"] == "websocket":
            counts = {
                "obs.websocket.messages.received": self._received,
                "obs.websocket.messages.sent": self._sent,
            }
            self.outcome.span.set_attributes(counts)
        self.outcome.finish()


def _stated_length(headers: RawHeaders) -> bytes | None:
    return next(
        (value for name, value in headers if name.lower() == b"content-length"), None
    )
