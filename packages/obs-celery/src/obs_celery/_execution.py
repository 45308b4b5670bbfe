"""The context, span and metrics of an attempt from ``task_prerun`` to ``task_postrun``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar, Token
from typing import Any

import billiard.common
from celery import VERSION
from obs_core.integration import (
    call_contained,
    context_with,
    keeping,
    kept_reason,
)
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Span

from obs_celery._attempt import Attempt
from obs_celery._batches import take_raised
from obs_celery._message import attempt_name, drawn_span_id
from obs_celery._outcome import Outcome, outcome_of
from obs_celery._propagation import (
    repeat_context,
    span_context_of,
    tell_kept,
    without_context,
)
from obs_celery._state import Setup

_CELERY = VERSION[:2]
#: Celery's module that calls a task and handles what the task raises.
_TRACE = "celery.app.trace"
_terminate_handler_fired: Callable[[], bool] | None = getattr(
    billiard.common, "terminate_handler_fired", None
)


class Passage:
    """An attempt that is not recorded, only executed in the producer's context."""

    __slots__ = ("_context", "_tokens", "setup", "span", "task_id")

    def __init__(
        self, setup: Setup, task_id: str, context: Context, span: Span | None = None
    ) -> None:
        self.setup = setup
        self.task_id = task_id
        self.span = span
        self._context = context
        self._tokens: tuple[Token[Passage | None], Token[Context]] | None = None

    def enter(self) -> None:
        """Make the attempt, and its span or context, the current ones."""
        context = self._context
        if self.span is not None:
            context = context_with(self.span, context)
        self._tokens = _executing.set(self), attach(context)

    def finish(self, state: str | None, result: object) -> None:
        """Restore what was current before `enter`."""
        assert self._tokens is not None
        outer, context_token = self._tokens
        detach(context_token)
        _executing.reset(outer)

    def abandon(self) -> None:
        """End the span of an execution that goes on without instrumentation."""
        if self.span is not None and self.span.is_recording():
            self.span.set_attribute("celery.state", "STARTED")
            self.span.end()
        self.span = None


_executing: ContextVar[Passage | None] = ContextVar(
    "obs_celery_executing", default=None
)


def current_execution() -> Passage | None:
    """The attempt that is being executed in this context."""
    return _executing.get()


class Execution(Passage):
    """An attempt that is recorded, as a span or in metrics; both signals come in the same thread and context.

    `supervised` means that the main process records the attempt when this process is killed in the middle.
    """

    __slots__ = (
        *("_handling", "_is_counted", "_started"),
        *("attempt", "supervised", "task"),
    )

    def __init__(
        self,
        setup: Setup,
        task: Any,
        task_id: str,
        request: Any,
        attempt: Attempt,
        span: Span | None,
    ) -> None:
        super().__init__(setup, task_id, attempt.context, span)
        self.task = task
        self.attempt = attempt
        self.supervised = not request.is_eager and drawn_span_id(request) is not None
        self._handling: BaseException | None = None
        self._is_counted = False
        self._started = 0.0

    def enter(self) -> None:
        """Begin the attempt."""
        super().enter()
        self._handling = sys.exc_info()[1]
        attempt = self.attempt
        self._is_counted = self.setup.metrics.started(
            attempt.facts.labels, attempt.wait_s
        )
        self._started = time.perf_counter()

    def finish(self, state: str | None, result: object) -> None:
        """End the attempt as Celery says, or leave that to the main process when this process is being killed."""
        try:
            # while the span is current: the exemplars of metrics name its trace
            outcome = self._counted(state, result)
        finally:
            super().finish(state, result)
        if outcome is not None and self.span is not None:
            call_contained("task span", self._end_span, self.span, outcome)

    def _counted(self, state: str | None, result: object) -> Outcome | None:
        """Record the end in the metrics; return the outcome, or None if this process is being killed."""
        raised = self._raised(is_unexplained=state == "FAILURE" and result is None)
        if self._is_counted:
            self.setup.metrics.active.add(-1, self.attempt.facts.labels)
        if self.supervised and _is_being_killed(state, raised):
            return None
        outcome = outcome_of(self.task, state, result, raised)
        if self._is_counted:
            self._count(outcome)
        return outcome

    def note_failure(self) -> None:
        """Keep the unsampled request of a task whose exception has left the body: its error callbacks are to be told."""
        error = sys.exc_info()[1]
        if self.span is None or error is self._handling or not _has_left_task(error):
            return
        if outcome_of(self.task, None, None, error).error is not None:
            kept_reason(self.span, fails=True)

    def _count(self, outcome: Outcome) -> None:
        duration_s = time.perf_counter() - self._started
        labels = self.attempt.facts.labels
        self.setup.metrics.ended(labels, outcome.state, outcome.error_type, duration_s)

    def _raised(self, *, is_unexplained: bool) -> BaseException | None:
        """Return the exception that is leaving the execution; an unexplained failure is a batch's."""
        raised, handled = sys.exc_info()[1], self._handling
        self._handling = None
        if raised is not handled:
            return raised
        return take_raised() if is_unexplained else None

    def _end_span(self, span: Span, outcome: Outcome) -> None:
        try:
            if span.is_recording():
                options = self.setup.options
                outcome.write_on(span, options)
                if options.on_end is not None:
                    call_contained(
                        "on_end", options.on_end, span, self.task, outcome.state
                    )
        finally:
            span.end()


def _has_left_task(error: BaseException | None) -> bool:
    """Whether Celery, not the task, is handling `error`: only then is a task that publishes over already."""
    trace = None if error is None else error.__traceback__
    return trace is not None and trace.tb_frame.f_globals.get("__name__") == _TRACE


def note_failing_task() -> None:
    """See `Execution.note_failure`; does nothing outside a task."""
    execution = _executing.get()
    if isinstance(execution, Execution):
        execution.note_failure()


def _is_being_killed(state: str | None, raised: BaseException | None) -> bool:
    """Whether this child ends with the attempt, and the main process records it.

    A task that exits ends the child as well; but Celery before 5.7 loses billiard's report of that, 4.3 and later
    (https://github.com/celery/billiard/issues/427), and then the child records the attempt.
    """
    if _terminate_handler_fired is not None and _terminate_handler_fired():
        return state != "SUCCESS" or raised is not None
    leaves = raised is not None and not isinstance(raised, Exception)
    return leaves and (_terminate_handler_fired is None or _CELERY >= (5, 7))


def previous_of_retry(request: Any, headers: MutableMapping[str, Any]) -> str | None:
    """Return the name of this attempt for the retry of `request`, whose `headers` are changed in place.

    Headers without a producer are removed: retries of an attempt that began a trace stay in that trace.
    """
    execution = _executing.get()
    if (
        not isinstance(execution, Execution)
        or execution.span is None
        or execution.task_id != request.id
    ):
        return None
    attempt = execution.attempt
    if not attempt.links and span_context_of(attempt.context) is None:
        without_context(headers)
    else:
        repeat_context(request, headers)
        if keeping.is_on:
            tell_kept(execution.span, headers)
    return attempt_name(execution.span.get_span_context())
