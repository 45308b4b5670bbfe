"""The execution: a span around the task's body. Runs in the process that executes: a prefork child, or the only one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, MutableMapping
from contextlib import nullcontext
from contextvars import Token
from typing import Any

import billiard.common
from celery import VERSION
from obs_core.integration import call_contained, span_ids_can_be_set, use_span_id
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Span, get_current_span, set_span_in_context

from obs_celery._arguments import MAPS, captured_arguments, items_of
from obs_celery._consumer import attempt_of
from obs_celery._message import PREVIOUS, drawn_span_id, told_attempt, without_context
from obs_celery._metrics import Labels
from obs_celery._outcome import Outcome, outcome_of
from obs_celery._setup import Setup, Setups

#: Where a running execution is kept: on the task's own request, which goes when the task is done.
_SLOT = "_obs_execution"


_CELERY = VERSION[:2]
_terminate_handler_fired: Callable[[], bool] | None = getattr(billiard.common, "terminate_handler_fired", None)


class Execution:
    """One attempt being executed, from ``task_prerun`` to ``task_postrun``, both in the same thread and context.

    `supervised` means that the main process tells of the attempt when this process is killed in it.
    """

    __slots__ = ("_handling", "_started", "_token", "attempt", "labels", "setup", "span", "supervised", "task")

    def __init__(self, setup: Setup, task: Any, request: Any, args: Any, kwargs: Any) -> None:
        self.setup = setup
        self.task = task
        self.supervised = not request.is_eager and drawn_span_id(request) is not None
        self.attempt = attempt_of(setup, task.app, task.name, request, get_current() if request.is_eager else None)
        self.labels: Labels = self.attempt.facts.labels
        self.span = self._start_span(request, args, kwargs) if self.attempt.traced else None
        self._handling = sys.exc_info()[1]
        self._count_start()
        self._started = time.perf_counter()
        self._token: Token[Context] = attach(self._context())

    def _context(self) -> Context:
        return set_span_in_context(self.span, self.attempt.context) if self.span is not None else self.attempt.context

    def _start_span(self, request: Any, args: Any, kwargs: Any) -> Span:
        drawn = drawn_span_id(request)
        agreed = drawn is not None and span_ids_can_be_set(self.setup.options.tracer_provider)
        with use_span_id(drawn) if drawn is not None and agreed else nullcontext():
            span = self.attempt.start_span(self.setup, request)
        if request.is_eager:
            # an eager retry is no message: it is given the headers of the request as they are
            request.headers = {**(request.headers or {}), PREVIOUS: told_attempt(span.get_span_context())}
        if span.is_recording():
            call_contained("task attributes", self._describe, span, args, kwargs)
        return span

    def _describe(self, span: Span, args: Any, kwargs: Any) -> None:
        options = self.setup.options
        if self.task.name in MAPS:
            span.set_attributes(items_of(kwargs))
        if options.capture_args:
            span.set_attributes(captured_arguments(options, self.task, args, kwargs))
        if options.start_hook is not None:
            call_contained("start_hook", options.start_hook, span, self.task)

    def _count_start(self) -> None:
        self.setup.metrics.active.add(1, self.labels)
        if self.attempt.wait_s is not None:
            self.setup.metrics.queue_wait.record(self.attempt.wait_s, self.labels)

    def finish(self, state: str | None, result: object) -> None:
        """End the attempt as Celery says, or leave it to the main process when this one is being killed in it."""
        detach(self._token)
        raised = sys.exc_info()[1]
        raised = None if raised is self._handling else raised
        self._handling = None
        self.setup.metrics.active.add(-1, self.labels)
        if self.supervised and _is_being_killed(state, raised):
            return
        outcome = outcome_of(self.task, state, result, raised)
        self.setup.metrics.ended(self.labels, outcome.state, outcome.error_type, time.perf_counter() - self._started)
        if self.span is not None:
            self._end_span(self.span, outcome)

    def _end_span(self, span: Span, outcome: Outcome) -> None:
        if span.is_recording():
            options = self.setup.options
            call_contained("task outcome", outcome.tell, span, options)
            if options.end_hook is not None:
                call_contained("end_hook", options.end_hook, span, self.task, outcome.state)
        call_contained("task span", span.end)

    def abandon(self) -> None:
        """End the span of an execution that goes on after its instrumentation has been taken away."""
        if self.span is not None and self.span.is_recording():
            self.span.set_attribute("celery.state", "STARTED")
            self.span.end()
        self.span = None


def _is_being_killed(state: str | None, raised: BaseException | None) -> bool:
    """Whether this child goes down with the attempt, so that the main process is the one to tell of it.

    A task that exits by itself takes the child with it as well; but Celery before 5.7 loses what billiard 4.3 and later
    report of that (https://github.com/celery/billiard/issues/427), and then it is told here.
    """
    if _terminate_handler_fired is not None and _terminate_handler_fired():
        return state != "SUCCESS" or raised is not None
    leaves = raised is not None and not isinstance(raised, Exception)
    return leaves and (_terminate_handler_fired is None or _CELERY >= (5, 7))


def tell_retry(request: Any, headers: MutableMapping[str, Any]) -> str | None:
    """Return how a retry of what `request` executes is to name this attempt, given the `headers` that it repeats.

    Headers that gave no producer are taken out, so that retries of an attempt that began its trace stay in that trace.
    """
    execution: Execution | None = vars(request).get(_SLOT)
    if execution is None or execution.span is None:
        return None
    attempt = execution.attempt
    if not attempt.links and not get_current_span(attempt.context).get_span_context().is_valid:
        without_context(headers)
    return told_attempt(execution.span.get_span_context())


class Executions:
    """The receivers of ``task_prerun`` and ``task_postrun``, and what is being executed now. Thread-safe."""

    def __init__(self, setups: Setups) -> None:
        self._setups = setups
        self._running: set[Execution] = set()
        self._then: Callable[[], None] | None = None

    def started(self, sender: Any, args: Any, kwargs: Any, **_: Any) -> None:
        """On ``task_prerun``: begin."""
        setup = self._setups.find(sender.app)
        if setup is None:
            return
        request = sender.request_stack.top
        execution = Execution(setup, sender, request, args, kwargs)
        vars(request)[_SLOT] = execution
        self._running.add(execution)

    def finished(self, sender: Any, retval: Any = None, state: str | None = None, **_: Any) -> None:
        """On ``task_postrun``: end. It follows every ``task_prerun`` unless the process is gone."""
        execution = vars(sender.request_stack.top).pop(_SLOT, None)
        if execution is not None:
            self._running.discard(execution)
            execution.finish(state, retval)
            if self._then is not None and not self._running:
                self._run_then()

    def abandon(self, setup: Setup) -> None:
        """End what is being executed under `setup`; each one's context is restored when its task is done."""
        for execution in [running for running in self._running if running.setup is setup]:
            execution.abandon()

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call `then` as soon as nothing is being executed, which may be now."""
        if self._running:
            self._then = then
        else:
            then()

    def _run_then(self) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()
