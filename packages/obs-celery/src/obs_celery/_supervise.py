"""The main process of a prefork worker records the attempts that no child can record.

These are lost, killed and timed out attempts, and messages that never reach a child: revoked, expired, unknown. Child and
main process agree on the attempt's span id beforehand, hence the child's exported spans keep their parent: the main
process draws the id and puts it into the request, which reaches the child with the task.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any
from weakref import WeakValueDictionary

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import Celery
from celery.app.task import Context as TaskRequest
from celery.exceptions import NotRegistered, Terminated
from obs_core.integration import (
    call_contained,
    draw_span_id,
    error_message,
    span_ids_can_be_set,
    use_span_id,
)
from opentelemetry.trace import Span

from obs_celery._attempt import Attempt, attempt_of
from obs_celery._message import ATTEMPT, drawn_span_id
from obs_celery._outcome import unwrapped
from obs_celery._propagation import extract
from obs_celery._state import Setup, Setups
from obs_celery._verdict import Verdict, revocation

RequestMethod = Callable[..., Any]

# the request whose end Celery is handling: its signals name the task's id alone, which two live attempts may share
_handled: ContextVar[Any] = ContextVar("obs_celery_handled", default=None)


def with_current_request(
    original: RequestMethod, request: Any, *args: Any, **kwargs: Any
) -> Any:
    """Call `Request.on_failure` or `Request.on_timeout`; their signals are then about `request`."""
    token = _handled.set(request)
    try:
        return original(request, *args, **kwargs)
    finally:
        _handled.reset(token)


class Supervisor:
    """The receivers of the main process. Each attempt is recorded at most once; requests are held weakly.

    The key of an attempt is the drawn span id: two deliveries of a message may run at the same time under the same
    task id. In a forked child the receivers do nothing.
    """

    def __init__(self, setups: Setups) -> None:
        self._setups = setups
        self._running: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self._pid = 0

    def received(self, sender: Any, request: Any, **_: Any) -> None:
        """On ``task_received``: agree on the span's id with the child that is going to execute the attempt."""
        if self._setups.find(request.app) is None or not _forks(sender.pool):
            return
        self._pid = os.getpid()
        attempt = f"{draw_span_id():016x}"
        self._running[attempt] = request
        request.request_dict[ATTEMPT] = attempt

    def failed(self, sender: Any, exception: object, **_: Any) -> None:
        """On ``task_failure``: record a lost or timed out child; the child records ordinary failures."""
        cause = unwrapped(exception)
        if isinstance(cause, (WorkerLostError, TimeLimitExceeded)):
            verdict = Verdict("FAILURE", error_message(cause), cause)
            self._record_running(sender, self._take_handled(), verdict)

    def retried(self, sender: Any, request: Any, reason: Any = None, **_: Any) -> None:
        """On ``task_retry``: with ``retry_on_worker_lost`` a lost child is a retry, not the last failure."""
        cause = unwrapped(getattr(reason, "exc", None))
        if isinstance(cause, WorkerLostError):
            verdict = Verdict("RETRY", error_message(cause), cause, is_error=False)
            self._record_running(sender, self._take(request), verdict)

    def cancel(
        self, original: RequestMethod, request: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Call `Request.cancel`, which kills the child for a cold stop or a lost broker.

        Celery 5.6 and later send no signal of an attempt whose message comes again.
        """
        original(request, *args, **kwargs)
        if request.time_start:
            call_contained("cancelled span", self._cancelled, request)

    def _cancelled(self, request: Any) -> None:
        # unless the message is acknowledged late, and so comes again, that was its end
        killed = Terminated("cancelled by the worker")
        verdict = Verdict("RETRY", str(killed), killed, not request.task.acks_late)
        self._record_running(
            request.task, self._running.pop(_attempt(request), None), verdict
        )

    def revoked(
        self,
        sender: Any,
        request: Any,
        terminated: bool,
        signum: Any,
        expired: bool,
        **_: Any,
    ) -> None:
        """On ``task_revoked``: record an attempt that was killed, or a message that was revoked or came too late."""
        setup = self._setups.find(sender.app)
        if setup is None:
            return
        running = self._take(request)
        started_s = None
        if terminated:
            if running is None:
                return  # a greenlet records its own end; any other attempt has been recorded already
            started_s = running.time_start
        verdict = revocation(setup.options, terminated, signum, expired)
        _record(setup, sender.app, sender.name, request, verdict, started_s)

    def unknown(self, sender: Any, message: Any, name: str, id: str, **_: Any) -> None:  # noqa: A002 - Celery's name
        """On ``task_unknown``: record a message that was thrown away, without a registered task."""
        setup = self._setups.find(sender.app)
        if setup is not None:
            request = TaskRequest(
                message.headers or {},
                id=id,
                delivery_info=message.delivery_info,
                hostname=sender.hostname,
            )
            _record(
                setup,
                sender.app,
                name,
                request,
                Verdict("REJECTED", "unknown task", NotRegistered(name)),
            )

    def _take(self, request: TaskRequest) -> Any:
        """Return the running request behind the task request of a signal, once."""
        return self._running.pop(str(vars(request).get(ATTEMPT)), None)

    def _take_handled(self) -> Any:
        """Return the running request whose end Celery is handling, once."""
        handled = _handled.get()
        if handled is None:
            return None
        return self._running.pop(_attempt(handled), None)

    def _record_running(self, task: Any, running: Any, verdict: Verdict) -> None:
        if running is None or os.getpid() != self._pid:
            return
        setup = self._setups.find(task.app)
        if setup is None:
            return
        request = TaskRequest(running.request_dict, chord=running.chord)
        started_s = running.time_start
        _record(setup, task.app, task.name, request, verdict, started_s)


def _attempt(request: Any) -> str:
    return str(request.request_dict.get(ATTEMPT))


def _record(
    setup: Setup,
    app: Celery,
    name: str,
    request: Any,
    verdict: Verdict,
    started_s: float | None = None,
) -> None:
    """Export the attempt's span, from `started_s` (epoch; None: never started) until now."""
    context = extract(request)
    attempt = attempt_of(
        *(setup, app, name, request, context),
        is_left_out=setup.leaves_out(context),
        started_s=started_s,
    )
    duration_s = time.time() - started_s if started_s else None
    setup.metrics.ended(
        attempt.facts.labels, verdict.state, verdict.error_type, duration_s
    )
    if attempt.traced:
        span = _start_span(setup, attempt, request, started_s)
        verdict.write_on(span)
        span.end()


def _start_span(
    setup: Setup, attempt: Attempt, request: Any, started_s: float | None
) -> Span:
    """Start the span under the id that the child was given, where ids can be set."""
    start_time = int(started_s * 1e9) if started_s else None
    drawn = drawn_span_id(request)
    if drawn is not None and span_ids_can_be_set(setup.options.tracer_provider):
        with use_span_id(drawn):
            return attempt.start_span(setup, request, start_time)
    span = attempt.start_span(setup, request, start_time)
    if started_s:
        span.set_attribute("celery.lost", True)
    return span


def _forks(pool: Any) -> bool:
    from celery.concurrency.prefork import TaskPool

    return isinstance(pool, TaskPool)
