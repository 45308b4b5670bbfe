"""The record of a request: its outcome, on the span and the measurement."""

from __future__ import annotations

import asyncio

from obs_core.integration import call_contained, error_type, fail, log_failure, record_error
from opentelemetry.trace import Span

from obs_http._metrics import Stopwatch
from obs_http._semconv import add_older_names
from obs_http.server._attributes import metric_attributes, span_method
from obs_http.server._exceptions import has_left
from obs_http.server._options import ServerOptions
from obs_http.server._route import route_template
from obs_http.server._types import Scope


class RequestRecord:
    """The state of a request that decides its outcome; not retained after the request.

    Args:
        options: The middleware's options.
        scope: The request's scope.
        span: The request's SERVER span.
        owned: Whether our middleware opened `span`, and therefore names the span, sets the status and ends it.
        records_errors: Whether to record an escaping exception; False if other code records exceptions on `span`.
        stopwatch: Measures the request, if a MeterProvider is set and FastAPI does not measure.
    """

    __slots__ = (
        "_cancelled", "_complete", "_disconnected", "_ended_ns", "_failed", "_options", "_path",
        "_received", "_root_path", "_scope", "_sent", "_stopwatch", "owned", "records_errors", "span",
        "status",
    )  # fmt: skip

    def __init__(
        self,
        options: ServerOptions,
        scope: Scope,
        span: Span,
        *,
        owned: bool,
        records_errors: bool,
        stopwatch: Stopwatch | None,
    ) -> None:
        self._options = options
        self._scope = scope
        self._path = scope.get("path", "")
        self._root_path = scope.get("root_path", "")
        self.span = span
        self.owned = owned
        self.records_errors = records_errors
        self.status: int | None = None
        self._stopwatch = stopwatch
        self._failed: str | None = None
        self._ended_ns: int | None = None
        self._complete = self._disconnected = self._cancelled = False
        self._received = self._sent = 0

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

    def _is_left(self) -> bool:
        """Whether the client left before a started HTTP response was complete."""
        if self.status is None or self._scope["type"] != "http" or self._complete:
            return False
        return self._disconnected or self._cancelled

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
        if route:
            method += f" {route}"
        self.span.update_name(method)

    def _error_type(self) -> str | None:
        """Return ``error.type`` for the span and the measurement."""
        if self._failed is not None or self.status is None or self.status < 500:
            return self._failed
        if self._is_left():
            return None
        return str(self.status)

    def _judge(self) -> None:
        if self.status is not None:
            self.span.set_attribute("http.response.status_code", self.status)
        if self._failed is None and (failure := self._error_type()) is not None:
            fail(self.span, failure)
