"""A request and its response: attributes of the span, headers of the response, end of the span."""

from __future__ import annotations

import asyncio
from time import perf_counter, time_ns

from obs_core.integration import call_contained, error_type, fail, log_failure, record_error
from opentelemetry import trace
from opentelemetry.trace import Span

from obs_http._enrich import enrich
from obs_http._metrics import Stopwatch
from obs_http._native import is_on_task_span, note_natively
from obs_http._options import ServerOptions
from obs_http._outcome import error_being_answered, has_left, raised_in_background, record_late
from obs_http._request import metric_attributes, span_method
from obs_http._route import route_template
from obs_http._semconv import add_older_names
from obs_http._types import EDGE, Message, Receive, Scope, Send, is_last


class Exchange:
    """A request in progress; not retained after the request.

    Args:
        options: The middleware's options.
        scope: The request's scope.
        receive: The server's receive function.
        send: The server's send function.
        span: The request's SERVER span.
        owned: Whether our middleware opened `span`, and therefore names the span, sets the status and ends it.
        records_errors: Whether to record an escaping exception; False if other code records exceptions on `span`.
        stopwatch: Measures the request, if a MeterProvider is set and FastAPI does not measure.
    """

    __slots__ = (
        "_cancelled", "_complete", "_disconnected", "_ended_ns", "_failed", "_options", "_path",
        "_receive", "_received", "_root_path", "_scope", "_send", "_sent", "_started", "_stopwatch",
        "_trailers", "correlation_id", "owned", "records_errors", "span", "status",
    )  # fmt: skip

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
        self._options = options
        self._scope = scope
        self._path = scope.get("path", "")
        self._root_path = scope.get("root_path", "")
        self._receive = receive
        self._send = send
        self.span = span
        self.owned = owned
        self.records_errors = records_errors
        self.correlation_id = correlation_id
        self.status: int | None = None
        self._stopwatch = stopwatch
        self._failed: str | None = None
        self._ended_ns: int | None = None
        self._trailers = self._complete = self._disconnected = self._cancelled = False
        self._received = self._sent = 0

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

    def _note(self, error: BaseException) -> None:
        """Record the failure of the request; a second call does nothing."""
        if self._failed is not None:
            return
        if isinstance(error, asyncio.CancelledError):
            self._cancelled = True
            self.span.set_attribute("obs.cancelled", True)
        elif self._disconnected or has_left(error):
            self._disconnected = True
        elif isinstance(error, Exception):
            self._failed = error_type(error)
            if self.records_errors:
                record_error(self.span, error)

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

    def _is_left(self) -> bool:
        started = self.status is not None and self._scope["type"] == "http"
        return started and not self._complete and (self._disconnected or self._cancelled)

    def close(self) -> None:
        """End the request: the application has returned, or raised."""
        if self._failed and EDGE in self._scope:
            return  # the error handler outside of us answers next, seen by the edge
        if self._failed and self.status is None and self._scope["type"] == "http":
            self.status = 500
        self.finish()

    def finish(self) -> None:
        """Record the outcome; end an owned span. A second call does nothing. Never raises."""
        if self._stopwatch is not None:
            self._measure()
        if not self.span.is_recording():
            return
        try:
            self._count()
            if self.owned:
                self._name_span()
                self._judge()
                self._add_older_names()
        except Exception:  # noqa: BLE001 - telemetry's failure is not the request's
            log_failure("finishing a request's span")
        if self.owned:
            call_contained("ending a request's span", self.span.end, self._ended_ns)

    def _measure(self) -> None:
        stopwatch, self._stopwatch = self._stopwatch, None
        if stopwatch is not None:
            route = call_contained("finding a request's route", self._route)
            stopwatch.attributes = metric_attributes(
                self._scope, route, self.status, self._error_type()
            )
            stopwatch.stop()

    def _add_older_names(self) -> None:
        if self._options.older_names:
            client = self._scope.get("client") or (None, None)
            more = {"http.response.status_code": self.status, "client.port": client[1]}
            add_older_names(self.span, self._options.older_names, more)

    def _count(self) -> None:
        if self._scope["type"] == "websocket":
            counts = {
                "obs.websocket.messages.received": self._received,
                "obs.websocket.messages.sent": self._sent,
            }
            self.span.set_attributes(counts)
        if self._disconnected:
            self.span.set_attribute("obs.disconnected", True)

    def _route(self) -> str | None:
        first = {"path": self._path, "root_path": self._root_path, "path_params": {}}
        route = route_template(self._scope, {**self._scope, **first})
        if route and (native := self._scope.get("fastapi.telemetry")) is not None:
            native.route = route  # FastAPI does not know routes below another framework's mount
        return route

    def _name_span(self) -> None:
        route = self._route()
        if route is not None:
            self.span.set_attribute("http.route", route)
        method = span_method(self._scope)
        self.span.update_name(f"{method} {route}" if route else method)

    def _error_type(self) -> str | None:
        """Return ``error.type`` for the span and the measurement."""
        if self._failed is not None or self.status is None or self.status < 500:
            return self._failed
        return None if self._is_left() else str(self.status)

    def _judge(self) -> None:
        if self.status is not None:
            self.span.set_attribute("http.response.status_code", self.status)
        if self._failed is None and (failure := self._error_type()) is not None:
            fail(self.span, failure)
