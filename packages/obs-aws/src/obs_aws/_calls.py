"""One client call and its span, from the caller's parameters to AWS's answer; each service adds to it what it must."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Any

from obs_core.integration import call_contained
from opentelemetry.context import (
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,
    Context,
    attach,
    detach,
    set_value,
)
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, get_current_span, set_span_in_context
from opentelemetry.util.types import AttributeValue

from obs_aws._outcome import record_answer, record_failure
from obs_aws._plan import Plan
from obs_aws._streams import Reading, RecordFailure, event_stream, follow

Attributes = dict[str, AttributeValue]
Params = Mapping[str, Any]


class Call:
    """A call in progress: a context manager around the real one.

    Attributes:
        params: What to call AWS with: the caller's own parameters, or a copy that carries the context.
        span: The call's span, without effect where the call is not recorded.
    """

    kind = SpanKind.CLIENT

    def __init__(self, plan: Plan, operation: str, params: Params) -> None:
        self.plan = plan
        self.operation = operation
        self.params = params
        self.span: Span = INVALID_SPAN
        self._ends_with_stream = False

    def span_name(self) -> str:
        """Name the span."""
        return f"{self.plan.service_id}.{self.operation}"

    def attributes(self) -> Attributes:
        """Tell what the parameters say, as start attributes."""
        return {}

    def carry(self, context: Context | None) -> Params:
        """Return the parameters with `context` in them, as a copy; the caller's own where they cannot carry it."""
        return self.params

    def read(self, result: Mapping[str, Any]) -> None:
        """Record what a successful answer says; called for a recording span only."""

    @staticmethod
    def read_event(span: Span, event: Mapping[str, Any]) -> None:
        """Record what an event of the answer's stream says; called for a recording span only."""

    def begin(self) -> Call:
        """Start the span, put the context into the parameters, and make the span the current one."""
        if self.is_wanted():
            self.start()
        self.enter(set_span_in_context(self.span) if self.span is not INVALID_SPAN else None)
        return self

    def is_wanted(self) -> bool:
        """Whether the options want a span for a call in this context."""
        return get_current_span().get_span_context().is_valid or self.plan.policy.wants_root()

    def start(self, start_time: int | None = None, context: Context | None = None) -> None:
        """Start the span below that of `context` (default: the current one), with all that is known so far."""
        attributes = self.plan.attributes(self.operation)
        if special := call_contained("AWS request attributes", self.attributes):
            attributes = {**attributes, **special}
        name = self.span_name()
        self.span = self.plan.tracer.start_span(
            name, context, self.kind, attributes, None, start_time
        )
        if (hook := self.plan.options.request_hook) and self.span.is_recording():
            call_contained(
                "request_hook", hook, self.span, self.plan.service, self.operation, self.params
            )

    def enter(self, context: Context | None) -> None:
        """Run the call in `context` (default: the current one), where AWS's transport makes no spans of its own."""
        self.params = call_contained("carrying context to AWS", self.carry, context) or self.params
        self._token = attach(set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True, context))

    def answer(self, result: Any) -> Any:
        """Record a successful answer; return what the caller gets."""
        if not self.span.is_recording():
            return result
        call_contained("AWS response attributes", record_answer, self.span, result)
        call_contained("AWS response attributes", self.read, result)
        self._call_response_hook(result)
        call_contained("AWS stream", self._follow_stream, result)
        return result

    def _follow_stream(self, result: Mapping[str, Any]) -> None:
        if (stream := event_stream(result)) is not None:
            follow(stream, Reading(self.span, self.read_event, self._failure_recorder()))
            self._ends_with_stream = True

    def _failure_recorder(self) -> RecordFailure:
        # without the call itself: its parameters may be large, and a stream may be long
        operation = f"{self.plan.service_id}.{self.operation}"
        return partial(record_failure, operation=operation, options=self.plan.options)

    def fail(self, error: BaseException) -> None:
        """Record that the call came to nothing."""
        if self.span.is_recording():
            call_contained("AWS error", self._failure_recorder(), self.span, error)
            self._call_response_hook(getattr(error, "response", None) or {})

    def end(self) -> None:
        """End the span; that of a call whose answer is a stream of events ends with the stream."""
        if not self._ends_with_stream:
            call_contained("ending an AWS span", self.span.end)

    def _call_response_hook(self, response: Mapping[str, Any]) -> None:
        if hook := self.plan.options.response_hook:
            call_contained(
                "response_hook", hook, self.span, self.plan.service, self.operation, response
            )

    def __enter__(self) -> Call:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        detach(self._token)
        if error is not None:
            self.fail(error)
        self.end()
