"""The outcome of a request, on its SERVER span and its measurement."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from time import time_ns

from obs_core.integration import (
    NO_FORMER_NAMES,
    FormerNames,
    call_contained,
    error_type,
    fail,
    log_failure,
    record_error,
)
from opentelemetry.trace import Span

from obs_http._measurement import Measurement
from obs_http._semconv import add_former_names
from obs_http.server._attributes import metric_attributes, span_method
from obs_http.server._exceptions import has_left, raised_in_background
from obs_http.server._route import native_template, route_template
from obs_http.server._types import Scope


class State(Enum):
    """The state of a request; FAILED is final.

    ========== ========== ==============================================================
    from       to         on
    ========== ========== ==============================================================
    RUNNING    ANSWERED   the last message of the response
    RUNNING    LEFT       the client leaves
    RUNNING    CANCELLED  the application's task is cancelled
    RUNNING    FAILED     the application raises, or starts to answer an exception
    LEFT       ANSWERED   the last message of the response, in spite of that
    LEFT       CANCELLED  the application's task is cancelled for that
    ANSWERED   FAILED     the application raises the exception that was answered
    ========== ========== ==============================================================
    """

    RUNNING = auto()
    ANSWERED = auto()
    LEFT = auto()
    CANCELLED = auto()
    FAILED = auto()


class Outcome:
    """Decides the outcome of a request and records it; not retained after the request.

    Args:
        scope: The request's scope, before routing.
        span: The request's SERVER span.
        owned: Whether our middleware opened `span`, and therefore names the span, sets the status and ends it.
        records_errors: Whether to record an escaping exception; False if other code records exceptions on `span`.
        measurement: Measures the request, if a MeterProvider is set; see `measurement` below.
        former_names: The former attribute names to record too.

    Attributes:
        status: The response's status code, once known.
        measurement: What is measured of the request until it is over; None: nothing, or by other code.
    """

    __slots__ = (
        "_ended_ns", "_failure", "_former_names", "_path", "_root_path", "_scope", "measurement", "owned",
        "records_errors", "span", "state", "status",
    )  # fmt: skip

    def __init__(
        self,
        scope: Scope,
        span: Span,
        *,
        owned: bool,
        records_errors: bool,
        measurement: Measurement | None,
        former_names: FormerNames,
    ) -> None:
        self._scope = scope
        self._path = scope.get("path", "")
        self._root_path = scope.get("root_path", "")
        self.span = span
        self.owned = owned
        self.records_errors = records_errors
        self.measurement = measurement
        self._former_names = former_names
        self.state = State.RUNNING
        self.status: int | None = None
        self._failure: str | None = None
        self._ended_ns: int | None = None

    def leave(self) -> None:
        """The client has left; after the complete response that means nothing."""
        if self.state is State.RUNNING:
            self._break_off(State.LEFT, "obs.disconnected")

    def _break_off(self, state: State, attribute: str) -> None:
        self.span.set_attribute(attribute, True)
        if self.state is not State.ANSWERED:
            self.state = state

    def fail(self, error: BaseException) -> None:
        """The application has raised `error`, or answers `error`; a second call does nothing."""
        if self.state is State.FAILED:
            return
        if isinstance(error, asyncio.CancelledError):
            self._break_off(State.CANCELLED, "obs.cancelled")
        elif self.state is State.LEFT or has_left(error):
            self._break_off(State.LEFT, "obs.disconnected")
        elif isinstance(error, Exception):
            self.state = State.FAILED
            self._failure = error_type(error)
            if self.records_errors:
                record_error(self.span, error)

    def answer(self) -> None:
        """The response is complete: end the span, unless the exception that was answered may still be raised."""
        if self.state is not State.FAILED:
            self.state = State.ANSWERED
        if not self.owned or self.status is None or self.status < 500:
            self.finish()
            return
        self._ended_ns = time_ns()
        if self.measurement is not None:
            self.measurement.hold()

    def is_late(self, error: BaseException) -> bool:
        """Whether `error` belongs to a background task, after the request was answered."""
        if self.state is not State.ANSWERED:
            return False
        return self._ended_ns is None or raised_in_background(error)

    def is_broken_off(self) -> bool:
        """Whether an HTTP response was started and will not be complete, because of the client."""
        if self.status is None or self._scope["type"] != "http":
            return False
        return self.state in (State.LEFT, State.CANCELLED)

    def finish(self) -> None:
        """Record the outcome; end an owned span. A second call does nothing. Never raises."""
        if self.measurement is not None:
            self._measure(self.measurement)
            self.measurement = None
        if not self.owned or not self.span.is_recording():
            return
        try:
            self.name_span()
            self._judge()
            self.add_former_names()
        except Exception:  # noqa: BLE001 - telemetry's failure is not the request's
            log_failure("finishing a request's span")
        call_contained("ending a request's span", self.span.end, self._ended_ns)

    def _measure(self, measurement: Measurement) -> None:
        route = call_contained("finding a request's route", self.route)
        measurement.attributes = metric_attributes(
            self._scope, route, self.status, self._error_type()
        )
        measurement.stop()

    def add_former_names(self) -> None:
        """Record the former attribute names too, if selected."""
        if self._former_names is not NO_FORMER_NAMES:
            client = self._scope.get("client") or (None, None)
            more = {"http.response.status_code": self.status, "client.port": client[1]}
            add_former_names(self.span, self._former_names, more)

    def route(self) -> str | None:
        """Return the route's template, and tell FastAPI's telemetry."""
        route = native_template(self._scope)
        if route is not None:
            return route
        first = {"path": self._path, "root_path": self._root_path, "path_params": {}}
        route = route_template(self._scope, {**self._scope, **first})
        if route and (native := self._scope.get("fastapi.telemetry")) is not None:
            # FastAPI does not know routes below another framework's mount
            native.route = route
        return route

    def name_span(self) -> None:
        """Give the span the name and the attribute of its route, unless FastAPI has."""
        if not self.owned and self.records_errors and native_template(self._scope):
            return
        route = self.route()
        if route is not None:
            self.span.set_attribute("http.route", route)
        method = span_method(self._scope)
        if route:
            method += f" {route}"
        self.span.update_name(method)

    def _error_type(self) -> str | None:
        """Return ``error.type`` for the span and the measurement."""
        if self.state is State.FAILED:
            return self._failure
        if self.status is None or self.status < 500 or self.is_broken_off():
            return None
        return str(self.status)

    def _judge(self) -> None:
        if self.status is not None:
            self.span.set_attribute("http.response.status_code", self.status)
        if (
            self.state is not State.FAILED
            and (failure := self._error_type()) is not None
        ):
            fail(self.span, failure)
