"""Everything that is put into Celery, and taken out again: one table of signals, one method."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from celery import Celery, signals
from celery.worker.request import Request
from obs_core.integration import mark_worker_process

from obs_celery._beat import Ticks
from obs_celery._eager import EagerCanvas
from obs_celery._execute import Executions
from obs_celery._flush import flush
from obs_celery._options import Options
from obs_celery._publish import traced_send_task, write_message
from obs_celery._setup import Setup, Setups
from obs_celery._supervise import Supervisor, named_request, watched_cancel

Receiver = Callable[..., Any]


class Installation:
    """The instrumentation of this process: in place as long as any app is instrumented."""

    def __init__(self) -> None:
        self.setups = Setups()
        self._executions = Executions(self.setups)
        self._supervisor = Supervisor(self.setups)
        self._ticks = Ticks()
        self._eager = EagerCanvas(self.setups)
        self._replaced: list[tuple[type, str, Any]] = []
        self._marked = False

    def _signals(self) -> list[tuple[Any, Receiver]]:
        """Who listens to what, by the process it happens in."""
        executions, supervisor = self._executions, self._supervisor
        return [
            # wherever a task is sent
            (signals.before_task_publish, write_message),
            # the main process of a worker
            (signals.celeryd_init, self._on_worker),
            (signals.worker_init, self._on_worker),
            (signals.task_received, supervisor.received),
            (signals.task_failure, supervisor.failed),
            (signals.task_retry, supervisor.retried),
            (signals.task_revoked, supervisor.revoked),
            (signals.task_unknown, supervisor.unknown),
            (signals.worker_shutdown, self._on_worker_shutdown),
            # where a task is executed: a prefork child, or else the only process
            (signals.task_prerun, executions.started),
            (signals.task_postrun, executions.finished),
            (signals.worker_process_shutdown, self._on_child_shutdown),
            # beat
            (signals.beat_init, self._on_beat),
        ]

    def add(self, app: Any | None, options: Options) -> None:
        """Instrument `app` (None: all); the first one connects everything."""
        first = not self.setups
        self.setups.put(app, Setup(options))
        if first:
            for signal, receiver in self._signals():
                signal.connect(receiver, weak=False)
            self._replace(Celery, "send_task", traced_send_task(Celery.send_task, self.setups))
            self._replace(Request, "cancel", watched_cancel(Request.cancel, self._supervisor))
            for name in ("on_failure", "on_timeout"):
                self._replace(Request, name, named_request(getattr(Request, name)))
            self._eager.wrap()

    def remove(self, app: Any | None) -> None:
        """Take back what `add` did for `app`; live spans end; the last one disconnects everything."""
        setup = self.setups.take(app)
        if setup is not None:
            self._executions.abandon(setup)
        if not self.setups:
            self._disconnect()

    def _disconnect(self) -> None:
        for signal, receiver in self._signals():
            if signal is not signals.task_postrun:
                signal.disconnect(receiver)
        # an execution under way restores its thread's context when it is done
        self._executions.when_idle(self._disconnect_last)
        self._put_back()
        self._executions.restore()
        self._ticks.restore()
        self._eager.restore()
        self._mark_worker(False)
        if (stopped := _test_worker_stopped()) is not None:
            stopped.disconnect(self._on_worker_shutdown)

    def _replace(self, owner: type, name: str, wrapper: Any) -> None:
        setattr(owner, name, wrapper)
        self._replaced.append((owner, name, wrapper))

    def _put_back(self) -> None:
        """Unless someone has wrapped ours since."""
        while self._replaced:
            owner, name, wrapper = self._replaced.pop()
            if getattr(owner, name) is wrapper:
                setattr(owner, name, wrapper.__wrapped__)

    def _disconnect_last(self) -> None:
        if not self.setups:
            signals.task_postrun.disconnect(self._executions.finished)

    def _mark_worker(self, active: bool) -> None:
        if active is not self._marked:
            mark_worker_process(active)
            self._marked = active

    def _on_worker(self, **_: Any) -> None:
        self._mark_worker(True)
        # Celery's worker for tests runs inside this process and ends without `worker_shutdown`
        if (stopped := _test_worker_stopped()) is not None:
            stopped.connect(self._on_worker_shutdown, weak=False)

    def _on_beat(self, sender: Any, **_: Any) -> None:
        # a schedule in Redis or a database is read at each tick; a beat in a thread is in somebody else's process
        if threading.current_thread() is threading.main_thread():
            self._mark_worker(True)
        self._ticks.wrap(sender.scheduler)

    def _on_worker_shutdown(self, **_: Any) -> None:
        self._flush()
        self._mark_worker(False)

    def _on_child_shutdown(self, **_: Any) -> None:
        self._flush()

    def _flush(self) -> None:
        flush(max((setup.options.flush_timeout_s for setup in self.setups), default=0.0))


def _test_worker_stopped() -> Any:
    return getattr(sys.modules.get("celery.contrib.testing.worker"), "test_worker_stopped", None)
