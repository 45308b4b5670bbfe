"""The main process of a prefork worker: it tells of the attempts that a child cannot tell of itself.

Lost, killed and timed out ones, and those that never reach a child: revoked, expired, unknown. The child that executes an
attempt and the main process agree on the attempt's span id beforehand, so that whatever the child did export under it
stays where it belongs: the main process draws the id and puts it into the request, which reaches the child with the task.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import Celery
from celery.app.task import Context as TaskRequest
from celery.exceptions import NotRegistered, Terminated
from celery.platforms import signal_name
from obs_core.integration import (
    call_contained,
    draw_span_id,
    error_message,
    error_type,
    record_error,
    span_ids_can_be_set,
    use_span_id,
)
from opentelemetry.trace import Span

from obs_celery._consumer import attempt_of
from obs_celery._message import ATTEMPT, drawn_span_id, extract
from obs_celery._outcome import fail, unwrapped
from obs_celery._setup import Setup, Setups

Cancel = Callable[..., None]


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What became of an attempt: `state` as Celery has it, the reason in words, and whether that is an error."""

    state: str
    reason: str
    cause: BaseException
    is_error: bool = True

    def tell(self, span: Span) -> None:
        span.set_attribute("celery.state", self.state)
        span.set_attribute("celery.reason", self.reason)
        if self.is_error and self.cause.__traceback__ is not None:
            record_error(span, self.cause)
        elif self.is_error:
            fail(span, self.cause, self.reason)


def watched_cancel(original: Cancel, supervisor: Supervisor) -> Cancel:
    """Return `Request.cancel` with a word to the supervisor: of what comes again, Celery 5.6 and later send no signal."""

    @functools.wraps(original)
    def cancel(request: Any, *args: Any, **kwargs: Any) -> None:
        original(request, *args, **kwargs)
        call_contained("cancelled span", supervisor.cancelled, request)

    return cancel


class Supervisor:
    """The receivers of the main process. Each attempt is told at most once; requests are held weakly.

    Celery's event loop calls all of them on one thread. In a forked child they do nothing.
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
        self._running[request.id] = request
        request.request_dict[ATTEMPT] = f"{draw_span_id():016x}"

    def failed(self, sender: Any, task_id: str, exception: object, **_: Any) -> None:
        """On ``task_failure``: a lost or timed out child; any other failure has been told by the child itself."""
        cause = unwrapped(exception)
        if isinstance(cause, (WorkerLostError, TimeLimitExceeded)):
            self._tell_running(sender, task_id, _Verdict("FAILURE", error_message(cause), cause))

    def retried(self, sender: Any, request: Any, reason: Any = None, **_: Any) -> None:
        """On ``task_retry``: with ``retry_on_worker_lost`` a lost child is a retry, not the last failure."""
        cause = unwrapped(getattr(reason, "exc", None))
        if isinstance(cause, WorkerLostError):
            self._tell_running(
                sender, request.id, _Verdict("RETRY", error_message(cause), cause, is_error=False)
            )

    def cancelled(self, request: Any) -> None:
        """After ``Request.cancel``: Celery has killed the child, for a cold stop or a lost broker.

        Unless the message is acknowledged late, and so comes again, that was its end.
        """
        if request.time_start:
            killed = Terminated("cancelled by the worker")
            self._tell_running(
                request.task,
                request.id,
                _Verdict("RETRY", str(killed), killed, not request.task.acks_late),
            )

    def revoked(
        self, sender: Any, request: Any, terminated: bool, signum: Any, expired: bool, **_: Any
    ) -> None:
        """On ``task_revoked``: killed while it ran, or never started because it was revoked or came too late."""
        setup = self._setups.find(sender.app)
        if setup is None:
            return
        running = self._running.pop(request.id, None)
        if terminated:
            verdict = _Verdict(
                "REVOKED", f"terminated by {_signal_name(signum)}", Terminated(signum)
            )
        else:
            reason = "expired" if expired else "revoked"
            is_error = reason.upper() in setup.options.error_states
            verdict = _Verdict("REVOKED", reason, Terminated(reason), is_error)
        started_s = getattr(running, "time_start", None) if terminated else None
        _tell(setup, sender.app, sender.name, request, verdict, started_s)

    def unknown(self, sender: Any, message: Any, name: str, id: str, **_: Any) -> None:  # noqa: A002 - Celery's name
        """On ``task_unknown``: no task of that name is registered here, so the message was thrown away."""
        setup = self._setups.find(sender.app)
        if setup is not None:
            request = TaskRequest(
                message.headers or {},
                id=id,
                delivery_info=message.delivery_info,
                hostname=sender.hostname,
            )
            _tell(
                setup,
                sender.app,
                name,
                request,
                _Verdict("REJECTED", "unknown task", NotRegistered(name)),
            )

    def _tell_running(self, task: Any, task_id: str, verdict: _Verdict) -> None:
        running = self._running.pop(task_id, None) if os.getpid() == self._pid else None
        setup = self._setups.find(task.app)
        if running is not None and setup is not None:
            request = TaskRequest(running.request_dict, chord=running.chord)
            _tell(setup, task.app, task.name, request, verdict, running.time_start)


def _tell(
    setup: Setup,
    app: Celery,
    name: str,
    request: Any,
    verdict: _Verdict,
    started_s: float | None = None,
) -> None:
    """Export the attempt's span, from `started_s` (epoch; None: it never started) until now."""
    attempt = attempt_of(setup, app, name, request, extract(request))
    error = error_type(verdict.cause) if verdict.is_error else None
    duration_s = time.time() - started_s if started_s else None
    setup.metrics.ended(attempt.facts.labels, verdict.state, error, duration_s)
    if not attempt.traced:
        return
    drawn = drawn_span_id(request)
    agreed = drawn is not None and span_ids_can_be_set(setup.options.tracer_provider)
    with use_span_id(drawn) if drawn is not None and agreed else nullcontext():
        span = attempt.start_span(setup, request, int(started_s * 1e9) if started_s else None)
    if started_s and not agreed:
        span.set_attribute("celery.lost", True)
    verdict.tell(span)
    span.end()


def _forks(pool: Any) -> bool:
    from celery.concurrency.prefork import TaskPool

    return isinstance(pool, TaskPool)


def _signal_name(signum: Any) -> str:
    return f"SIG{signal_name(signum)}" if isinstance(signum, int) else str(signum)
