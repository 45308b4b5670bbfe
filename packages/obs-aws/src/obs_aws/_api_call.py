"""A client call in progress, from the caller's parameters to AWS's response."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from obs_core.integration import (
    call_contained,
    context_with,
    current_span,
    suppress_http,
)
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
)

from obs_aws._attributes import Attributes, Params, response_attributes
from obs_aws._outcome import record_failure
from obs_aws._response_streams import Reading, RecordFailure, event_stream, follow
from obs_aws._state import ClientState


class ApiCall:
    """A call with the span: a context manager around the original method. A subclass adds the particulars of a service.

    Attributes:
        client: The state that all calls of the client share.
        params: The parameters to call AWS with: the caller's, or a copy that carries the trace context.
        span: The span of the call; `INVALID_SPAN` if the call is not recorded.
    """

    kind = SpanKind.CLIENT

    def __init__(self, client: ClientState, operation: str, params: Params) -> None:
        self.client = client
        self.options = client.options
        self.operation = operation
        self.params = params
        self.span: Span = INVALID_SPAN
        self._ends_with_stream = False

    def span_name(self) -> str:
        """Return the name of the span."""
        return f"{self.client.service_id}.{self.operation}"

    def attributes(self) -> Attributes:
        """Return the start attributes read from the parameters."""
        return {}

    def carry(self, context: Context | None) -> Params:
        """Return a copy of the parameters that carries `context`, or the parameters if no place is left for a context."""
        return self.params

    def read(self, result: Mapping[str, Any]) -> None:
        """Record attributes of a successful response; called for a recording span only."""

    @staticmethod
    def read_event(span: Span, event: Mapping[str, Any]) -> None:
        """Record attributes of an event in the response's stream; called for a recording span only."""

    def begin(self) -> ApiCall:
        """Start the span, inject the context into the parameters, and make the span current."""
        if self.is_wanted():
            self.start()
            self.enter(context_with(self.span))
        else:
            self.enter(None)
        return self

    def is_wanted(self) -> bool:
        """Whether a call in the current context gets a span."""
        policy = self.client.policy
        if current_span().get_span_context().is_valid:
            return policy.wants_child()
        return policy.wants_root()

    def start(
        self, start_time: int | None = None, context: Context | None = None
    ) -> None:
        """Start the span as a child of the span in `context` (default: the current context)."""
        attributes = self.client.attributes(self.operation)
        if special := call_contained("AWS request attributes", self.attributes):
            attributes = {**attributes, **special}
        name = self.span_name()
        self.span = self.client.tracer.start_span(
            name, context, self.kind, attributes, None, start_time
        )
        if self.span.is_recording():
            self._call_hook("on_start", self.params)

    def enter(self, context: Context | None) -> None:
        """Attach `context` (default: the current context), with HTTP client spans suppressed, and inject the context."""
        carried = call_contained("carrying context to AWS", self.carry, context)
        self.params = carried or self.params
        self._token = attach(suppress_http(context))

    def answer(self, result: Any) -> Any:
        """Record a successful response; return the response."""
        if not self.span.is_recording():
            return result
        call_contained("AWS response attributes", self._record_response, result)
        call_contained("AWS response attributes", self.read, result)
        self._call_hook("on_end", result)
        call_contained("AWS stream", self._follow_stream, result)
        return result

    def _record_response(self, result: Mapping[str, Any]) -> None:
        self.span.set_attributes(response_attributes(result))

    def _follow_stream(self, result: Mapping[str, Any]) -> None:
        if (stream := event_stream(result)) is not None:
            follow(
                stream, Reading(self.span, self.read_event, self._failure_recorder())
            )
            self._ends_with_stream = True

    def _failure_recorder(self) -> RecordFailure:
        # no reference to the call: parameters may be large, and a stream may be long
        operation = f"{self.client.service_id}.{self.operation}"
        return partial(record_failure, operation=operation, options=self.options)

    def fail(self, error: BaseException) -> None:
        """Record the error that the call raised."""
        if self.span.is_recording():
            call_contained("AWS error", self._failure_recorder(), self.span, error)
            self._call_hook("on_end", getattr(error, "response", None) or {})

    def end(self) -> None:
        """End the span, unless the response is a stream of events: then the span ends with the stream."""
        if not self._ends_with_stream:
            call_contained("ending an AWS span", self.span.end)

    def _call_hook(self, name: str, argument: Mapping[str, Any]) -> None:
        hook = getattr(self.options, name)
        if hook is not None:
            service = self.client.service
            call_contained(name, hook, self.span, service, self.operation, argument)

    def __enter__(self) -> ApiCall:
        return self

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        detach(self._token)
        if error is not None:
            self.fail(error)
        self.end()
