"""The outcome of an attempt: from Celery's final state to status, attributes and error."""

from __future__ import annotations

import sys
from typing import Any

from celery.exceptions import Ignore, Reject, Retry
from obs_core.integration import error_message, error_type, fail, record_error, truncate
from opentelemetry.trace import Span

from obs_celery._options import Options

#: States that a task asks for by raising; none of them is a failure by itself.
_ASKED_FOR = {Retry: "RETRY", Reject: "REJECTED", Ignore: "IGNORED"}


class Outcome:
    """The final `state` and the exception that caused the state; `error` is set for failures alone."""

    __slots__ = ("cause", "error", "state")

    def __init__(
        self,
        state: str,
        cause: BaseException | None,
        error: BaseException | None = None,
    ) -> None:
        self.state = state
        self.cause = cause
        self.error = error

    @property
    def error_type(self) -> str | None:
        """``error.type`` of a failure."""
        return None if self.error is None else error_type(self.error)

    def write_on(self, span: Span, options: Options) -> None:
        """Write the outcome on `span`."""
        span.set_attribute("celery.state", self.state)
        if self.error is not None:
            record_error(span, self.error)
        elif self.state in ("RETRY", "REJECTED", "IGNORED", "FAILURE"):
            self._write_reason(span, options)

    def _write_reason(self, span: Span, options: Options) -> None:
        assert self.cause is not None
        text = _reason(self.cause)
        if text:
            span.set_attribute("celery.reason", truncate(text, options.max_value_bytes))
        if isinstance(self.cause, Reject):
            span.set_attribute("celery.requeue", bool(self.cause.requeue))
            if not self.cause.requeue and "REJECTED" in options.error_states:
                fail(span, error_type(self.cause), text)


def _reason(cause: BaseException) -> str:
    """Return the reason that a rejecting task has given, or else the message."""
    if isinstance(cause, Reject) and cause.reason is not None:
        return str(cause.reason)
    return error_message(cause)


_SUCCESS = Outcome("SUCCESS", None)


def outcome_of(
    task: Any, state: str | None, result: object, raised: BaseException | None
) -> Outcome:
    """Return the outcome of an execution.

    Args:
        task: The task, for the exceptions that it declares as expected (`throws`).
        state: From ``task_postrun``; None when the execution was left by an exception.
        result: The return value, or the exception behind `state`.
        raised: The exception that is leaving the execution right now.
    """
    if state == "SUCCESS" and raised is None:
        return _SUCCESS
    cause = raised
    if cause is None:
        cause = unwrapped(result)
    if cause is None:
        return _stateless(state)
    for kind, asked in _ASKED_FOR.items():
        if isinstance(cause, kind):
            return Outcome(asked, cause)
    if _is_terminated_greenlet(cause):
        return Outcome("REVOKED", cause, cause)
    # with a state of SUCCESS the task itself was fine, and what failed is keeping its result or sending its callbacks
    expected = state != "SUCCESS" and isinstance(cause, tuple(task.throws or ()))
    return Outcome("FAILURE", cause, None if expected else cause)


def _is_terminated_greenlet(cause: BaseException) -> bool:
    greenlet = sys.modules.get("greenlet")
    return greenlet is not None and isinstance(cause, greenlet.GreenletExit)


def _stateless(state: str | None) -> Outcome:
    if state not in (None, "FAILURE"):
        return Outcome(state, None)
    lost = RuntimeError(
        f"the execution ended with state {state} and without an exception"
    )
    return Outcome("FAILURE", lost, lost)


def unwrapped(result: object) -> BaseException | None:
    """Return the exception in `result`, unwrapped from a pool's ExceptionWithTraceback; None for a value."""
    if type(result).__name__ == "ExceptionWithTraceback":
        result = getattr(result, "exc", None)
    return result if isinstance(result, BaseException) else None
