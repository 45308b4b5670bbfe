"""The execution: a span around the task's body. Runs in the process that executes: a prefork child, or the only one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, MutableMapping, Sequence
from contextvars import ContextVar, Token
from typing import Any

import billiard.common
from celery import VERSION
from obs_core.integration import Patches, call_contained, span_ids_can_be_set, use_span_id
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Span, set_span_in_context

from obs_celery._arguments import MAPS, captured_arguments, items_of
from obs_celery._batches import batch_attempt, batch_of, take_raised, watch_batches
from obs_celery._consumer import Attempt, attempt_of, is_passage
from obs_celery._message import (
    PREVIOUS,
    drawn_span_id,
    extract,
    repeat_context,
    span_context_of,
    told_attempt,
    without_context,
)
from obs_celery._options import Options
from obs_celery._outcome import Outcome, outcome_of
from obs_celery._setup import Setup, Setups

_CELERY = VERSION[:2]
_terminate_handler_fired: Callable[[], bool] | None = getattr(
    billiard.common, "terminate_handler_fired", None
)


class Passage:
    """An attempt of which nothing is recorded, from ``task_prerun`` to ``task_postrun``: it only has its producer's context."""

    __slots__ = ("_context_token", "_outer", "setup", "span", "task_id")

    def __init__(
        self, setup: Setup, task_id: str, context: Context, span: Span | None = None
    ) -> None:
        self.setup = setup
        self.task_id = task_id
        self.span = span
        self._outer = _executing.set(self)
        self._context_token: Token[Context] = attach(
            context if span is None else set_span_in_context(span, context)
        )

    def finish(self, state: str | None, result: object) -> None:
        """Restore what was there before."""
        detach(self._context_token)
        _executing.reset(self._outer)

    def abandon(self) -> None:
        """End the span of an execution that goes on after its instrumentation has been taken away."""
        if self.span is not None and self.span.is_recording():
            self.span.set_attribute("celery.state", "STARTED")
            self.span.end()
        self.span = None


_executing: ContextVar[Passage | None] = ContextVar("obs_celery_executing", default=None)


class Execution(Passage):
    """An attempt that is told of, as a span or in numbers; both signals come in the same thread and context.

    `supervised` means that the main process tells of the attempt when this process is killed in it.
    """

    __slots__ = ("_handling", "_started", "attempt", "supervised", "task")

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
        self._handling = sys.exc_info()[1]
        setup.metrics.started(attempt.facts.labels, attempt.wait_s)
        self._started = time.perf_counter()

    def finish(self, state: str | None, result: object) -> None:
        """End the attempt as Celery says, or leave it to the main process when this one is being killed in it."""
        super().finish(state, result)
        raised = sys.exc_info()[1]
        raised = None if raised is self._handling else raised
        raised = raised or take_raised()
        self._handling = None
        metrics, labels = self.setup.metrics, self.attempt.facts.labels
        metrics.active.add(-1, labels)
        if self.supervised and _is_being_killed(state, raised):
            return
        outcome = outcome_of(self.task, state, result, raised)
        metrics.ended(
            labels, outcome.state, outcome.error_type, time.perf_counter() - self._started
        )
        if self.span is not None:
            call_contained("task span", self._end_span, self.span, outcome)

    def _end_span(self, span: Span, outcome: Outcome) -> None:
        try:
            if span.is_recording():
                options = self.setup.options
                outcome.tell(span, options)
                if options.end_hook is not None:
                    call_contained("end_hook", options.end_hook, span, self.task, outcome.state)
        finally:
            span.end()


def _begin(setup: Setup, task: Any, task_id: str, request: Any, args: Any, kwargs: Any) -> Passage:
    context = get_current() if request.is_eager else extract(request)
    if is_passage(setup, request, context):
        return Passage(setup, task_id, context)
    attempt = attempt_of(setup, task.app, task.name, request, context)
    span = _start_span(setup, task, request, attempt) if attempt.traced else None
    if span is not None and attempt.facts.is_described and span.is_recording():
        call_contained("task attributes", _describe, setup.options, span, task, args, kwargs)
    return Execution(setup, task, task_id, request, attempt, span)


def _begin_batch(
    setup: Setup, task: Any, task_id: str, request: Any, messages: Sequence[Any]
) -> Passage:
    # Celery's request of a batch is empty
    request.delivery_info, request.hostname = messages[0].delivery_info, messages[0].hostname
    attempt = batch_attempt(setup, task, messages)
    span = attempt.start_span(setup, request) if attempt.traced else None
    if span is not None:
        span.set_attribute("celery.task.id", task_id)
        span.set_attribute("messaging.batch.message_count", len(messages))
        if setup.options.start_hook is not None:
            call_contained("start_hook", setup.options.start_hook, span, task)
    return Execution(setup, task, task_id, request, attempt, span)


def _start_span(setup: Setup, task: Any, request: Any, attempt: Attempt) -> Span:
    if request.is_eager:
        span = attempt.start_span(setup, request)
        # an eager retry is no message: it is given the headers of the request as they are
        request.headers = {
            **(request.headers or {}),
            PREVIOUS: told_attempt(span.get_span_context()),
        }
        return span
    drawn = drawn_span_id(request)
    if drawn is None or not span_ids_can_be_set(setup.options.tracer_provider):
        return attempt.start_span(setup, request)
    with use_span_id(drawn):
        return attempt.start_span(setup, request)


def _describe(options: Options, span: Span, task: Any, args: Any, kwargs: Any) -> None:
    if task.name in MAPS:
        span.set_attributes(items_of(kwargs))
    if options.capture_args:
        span.set_attributes(captured_arguments(options, task, args, kwargs))
    if options.start_hook is not None:
        call_contained("start_hook", options.start_hook, span, task)


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
    return told_attempt(execution.span.get_span_context())


class Executions:
    """The receivers of ``task_prerun`` and ``task_postrun``, and what is being executed now. Thread-safe."""

    def __init__(self, setups: Setups) -> None:
        self._setups = setups
        self._running: set[Passage] = set()
        self._then: Callable[[], None] | None = None
        self._patches = Patches()

    def started(self, sender: Any, task_id: str, args: Any, kwargs: Any, **_: Any) -> None:
        """On ``task_prerun``: begin."""
        setup = self._setups.find(sender.app)
        if setup is None:
            return
        request = sender.request_stack.top
        messages = None if request.is_eager else batch_of(sender, args)
        if messages is None:
            begun = _begin(setup, sender, task_id, request, args, kwargs)
        else:
            watch_batches(self._patches)
            begun = _begin_batch(setup, sender, task_id, request, messages)
        self._running.add(begun)

    def finished(
        self, task_id: str, retval: Any = None, state: str | None = None, **_: Any
    ) -> None:
        """On ``task_postrun``: end. It follows every ``task_prerun`` unless the process is gone."""
        execution = _executing.get()
        # one of an app that is not instrumented may be running inside
        if execution is not None and execution.task_id == task_id:
            self._running.discard(execution)
            execution.finish(state, retval)
            if self._then is not None and not self._running:
                self._run_then()

    def abandon(self, setup: Setup) -> None:
        """End what is being executed under `setup`; each one's context is restored when its task is done."""
        for execution in [running for running in self._running if running.setup is setup]:
            execution.abandon()

    def restore(self) -> None:
        """Take back the changes to celery-batches."""
        self._patches.undo()

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
