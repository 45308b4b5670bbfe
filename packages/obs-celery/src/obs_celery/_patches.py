"""All changes to Celery, and their inverse: a table of signals, the replaced methods, the flush before a process ends."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Celery, signals
from celery.worker.request import Request
from obs_core.integration import Patches, flush_within, mark_worker_process

from obs_celery._batches import watch_batches
from obs_celery._beat import apply_entry
from obs_celery._eager import CANVAS, apply_canvas
from obs_celery._execute import Executions
from obs_celery._options import Options
from obs_celery._publish import send_task, write_message
from obs_celery._state import Setup, Setups
from obs_celery._supervise import Supervisor, with_current_request

Receiver = Callable[..., Any]
Undo = Callable[[], None]


class Installation:
    """The changes to Celery, in place as long as any app is instrumented."""

    def __init__(self) -> None:
        self._setups = Setups(self._connect)
        self._patches = Patches()
        self._executions = Executions(self._setups, self._watch_batches)
        self._supervisor = Supervisor(self._setups)
        self._marked = False

    def _signals(self) -> list[tuple[Any, Receiver]]:
        """Each signal with the receiver, by process."""
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

    def add(self, app: Any | None, options: Options) -> Undo:
        """Instrument `app` (None: all apps); the undo ends live spans."""
        setup = Setup(options)
        remove = self._setups.add(app, setup)

        def undo() -> None:
            self._executions.abandon(setup)
            remove()

        return undo

    def _connect(self) -> Undo:
        for signal, receiver in self._signals():
            signal.connect(receiver, weak=False)
        self._patches = Patches()
        self._patch()
        return self._disconnect

    def _patch(self) -> None:
        """Wrap methods where no signal is enough: failed publishes, eager canvas, the request behind a signal."""
        wrap = self._patches.wrap
        wrap(Celery, "send_task", partial(send_task, self._setups))
        wrap(Request, "cancel", self._supervisor.cancel)
        for name in ("on_failure", "on_timeout"):
            wrap(Request, name, with_current_request)
        for kind in CANVAS:
            wrap(kind, "apply", partial(apply_canvas, self._setups))

    def _watch_batches(self) -> None:
        watch_batches(self._patches)

    def _disconnect(self) -> None:
        for signal, receiver in self._signals():
            if signal is not signals.task_postrun:
                signal.disconnect(receiver)
        # an execution under way restores its thread's context when it is done
        self._executions.when_idle(self._disconnect_last)
        self._patches.undo()
        self._mark_worker(False)
        if (stopped := _test_worker_stopped()) is not None:
            stopped.disconnect(self._on_worker_shutdown)

    def _disconnect_last(self) -> None:
        if not self._setups:
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
        self._patches.wrap(sender.scheduler, "apply_async", apply_entry)

    def _on_worker_shutdown(self, **_: Any) -> None:
        self._flush()
        self._mark_worker(False)

    def _on_child_shutdown(self, **_: Any) -> None:
        self._flush(is_end=True)

    def _flush(self, *, is_end: bool = False) -> None:
        longest_s = max(
            (setup.options.flush_timeout_s for setup in self._setups), default=0.0
        )
        flush_within(longest_s, is_end=is_end)


def _test_worker_stopped() -> Any:
    return getattr(
        sys.modules.get("celery.contrib.testing.worker"), "test_worker_stopped", None
    )


installation = Installation()
