"""A span around the task's body. Runs in the process that executes: a prefork child, or the worker itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from obs_core.integration import call_contained, span_ids_can_be_set, use_span_id
from opentelemetry.context import get_current
from opentelemetry.trace import Span

from obs_celery._arguments import MAPS, captured_arguments, items_of
from obs_celery._attempt import Attempt, attempt_of, is_passage
from obs_celery._batches import batch_attempt, batch_of, batch_request
from obs_celery._execution import Execution, Passage, current_execution
from obs_celery._message import PREVIOUS, attempt_name, drawn_span_id
from obs_celery._options import Options
from obs_celery._propagation import extract
from obs_celery._state import Setup, Setups


def _begin(
    setup: Setup, task: Any, task_id: str, request: Any, args: Any, kwargs: Any
) -> Passage:
    context = get_current() if request.is_eager else extract(request)
    is_left_out = setup.leaves_out(context)
    if is_left_out and is_passage(setup, request):
        return Passage(setup, task_id, context)
    attempt = attempt_of(
        setup, task.app, task.name, request, context, is_left_out=is_left_out
    )
    span = None
    if attempt.traced:
        span = _start_span(setup, task, request, attempt)
        if attempt.facts.is_described and span.is_recording():
            call_contained(
                "task attributes", _describe, setup.options, span, task, args, kwargs
            )
    return Execution(setup, task, task_id, request, attempt, span)


def _begin_batch(
    setup: Setup, task: Any, task_id: str, messages: Sequence[Any]
) -> Passage:
    attempt, request = batch_attempt(setup, task, messages), batch_request(messages)
    span = None
    if attempt.traced:
        span = attempt.start_span(setup, request)
        span.set_attribute("celery.task.id", task_id)
        span.set_attribute("messaging.batch.message_count", len(messages))
        if setup.options.on_start is not None:
            call_contained("on_start", setup.options.on_start, span, task)
    return Execution(setup, task, task_id, request, attempt, span)


def _start_span(setup: Setup, task: Any, request: Any, attempt: Attempt) -> Span:
    if request.is_eager:
        span = attempt.start_span(setup, request)
        # an eager retry is no message: it is given the headers of the request as they are
        request.headers = {
            **(request.headers or {}),
            PREVIOUS: attempt_name(span.get_span_context()),
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
    if options.on_start is not None:
        call_contained("on_start", options.on_start, span, task)


class Executions:
    """The receivers of ``task_prerun`` and ``task_postrun``, with the current executions. Thread-safe."""

    def __init__(self, setups: Setups, watch_batches: Callable[[], None]) -> None:
        self._setups = setups
        self._watch_batches = watch_batches
        self._running: set[Passage] = set()
        self._then: Callable[[], None] | None = None

    def started(
        self, sender: Any, task_id: str, args: Any, kwargs: Any, **_: Any
    ) -> None:
        """On ``task_prerun``: begin."""
        setup = self._setups.find(sender.app)
        if setup is None:
            return
        request = sender.request_stack.top
        if messages := batch_of(sender, request, args):
            self._watch_batches()
            begun = _begin_batch(setup, sender, task_id, messages)
        else:
            begun = _begin(setup, sender, task_id, request, args, kwargs)
        begun.enter()
        self._running.add(begun)

    def finished(
        self, task_id: str, retval: Any = None, state: str | None = None, **_: Any
    ) -> None:
        """On ``task_postrun``, which follows every ``task_prerun`` unless the process is gone: end."""
        execution = current_execution()
        # one of an app that is not instrumented may be running inside
        if execution is not None and execution.task_id == task_id:
            self._running.discard(execution)
            execution.finish(state, retval)
            if self._then is not None and not self._running:
                self._run_then()

    def abandon(self, setup: Setup) -> None:
        """End the spans of current executions under `setup`; their contexts are restored when the tasks are done."""
        for execution in [
            running for running in self._running if running.setup is setup
        ]:
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
