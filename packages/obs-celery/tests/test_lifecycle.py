"""Nothing finished is lost when a worker or a child goes: real processes and signals, an export never due by itself."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from celery import signals
from obs_celery import instrument_celery
from obs_celery_worker import StartWorker, root
from obs_core.testing import SinkSpan, SpanRecorder, wait_until
from opentelemetry import trace

NEVER = {"TEST_SCHEDULE_DELAY_S": "300"}


def finished(spans: list[SinkSpan]) -> list[SinkSpan]:
    """The successful executions."""
    return [span for span in spans if span.attributes.get("celery.state") == "SUCCESS"]


@pytest.mark.promise("CEL-40")
@pytest.mark.parametrize(
    ("signum", "pool"),
    [
        (signal.SIGTERM, "prefork"),
        (signal.SIGQUIT, "prefork"),
        (signal.SIGQUIT, "threads"),
    ],
)
def test_a_stop_loses_no_finished_span(
    start_worker: StartWorker, signum: int, pool: str
) -> None:
    """Right after the last of ten tasks."""
    with start_worker(pool=pool, **NEVER) as worker:
        with root():
            results = [worker.send("ok") for _ in range(10)]
        assert [result.get(timeout=30) for result in results] == [1] * 10
        if signum == signal.SIGQUIT:
            worker.wait_idle()
        worker.stop(signum)
        assert len(finished(worker.sink.spans)) == 10
        assert len([span for span in worker.sink.spans if span.name == "body"]) == 10


@pytest.mark.promise("CEL-40")
def test_a_cold_stop_after_the_result_tells_of_the_task_once(
    start_worker: StartWorker,
) -> None:
    """Killed between its result and its end, the child is silent, and the main process says what Celery made of it.

    Where Celery lets it come to its end (5.3 does, and a slow machine may), it is the child that tells, and the main process
    that is silent.
    """
    with start_worker(**NEVER) as worker:
        with root():
            result = worker.send("lingers")
        assert result.get(timeout=30) == 1
        worker.stop(signal.SIGQUIT)
        body, execution = sorted(worker.sink.spans, key=lambda span: span.name)
        assert (body.name, body.parent_id) == ("body", execution.span_id)
        assert execution.attributes["celery.state"] in ("RETRY", "FAILURE", "SUCCESS")


@pytest.mark.promise("CEL-40")
def test_recycled_children_lose_no_span(start_worker: StartWorker) -> None:
    """`max_tasks_per_child=1`, twenty times: the spans arrive while the worker runs on."""
    with start_worker("--max-tasks-per-child", "1", **NEVER) as worker:
        with root():
            results = [worker.send("ok") for _ in range(20)]
        # billiard's pool may shrink by a child that has just been given a task
        [result.get(timeout=60, propagate=False) for result in results]
        worker.sink.wait_for(
            lambda spans: len(finished(spans)) == 20 and len(spans) == 40
        )


@pytest.mark.promise("CEL-40")
def test_shrinking_the_pool_loses_no_span(start_worker: StartWorker) -> None:
    """As autoscale does."""
    with start_worker(concurrency=4, **NEVER) as worker:
        with root():
            results = [worker.send("pid") for _ in range(20)]
        children = {result.get(timeout=30) for result in results}
        worker.app.control.pool_shrink(
            3, destination=[worker.hostname], reply=True, timeout=10
        )
        wait_until(lambda: sum(Path(f"/proc/{pid}").exists() for pid in children) <= 1)
        worker.stop()
        assert len(finished(worker.sink.spans)) == 20


@pytest.mark.soak
@pytest.mark.promise("CEL-40")
def test_autoscale_loses_no_span(start_worker: StartWorker) -> None:
    """Up while there is work, and down again when there is none, as far as Celery's own count of what is idle goes."""
    with start_worker(
        "--autoscale", "5,1", AUTOSCALE_KEEPALIVE="0.3", **NEVER
    ) as worker:
        main = psutil.Process(worker.process.pid)
        with root():
            results = [worker.send("naps", 0.4) for _ in range(15)]
        wait_until(lambda: len(main.children()) > 2)
        [result.get(timeout=60) for result in results]
        wait_until(
            lambda: (
                len(
                    [
                        child
                        for child in main.children()
                        if child.status() != psutil.STATUS_ZOMBIE
                    ]
                )
                <= 2
            )
        )
        worker.stop()
        assert (
            len([span for span in worker.sink.spans if span.kind == "CONSUMER"]) == 15
        )


@pytest.mark.promise("CEL-40", "CEL-13")
@pytest.mark.parametrize("late", [False, True])
def test_a_cold_stop_tells_what_it_killed(
    start_worker: StartWorker, late: bool
) -> None:
    """SIGQUIT with a task running: one span for it, told by the main process; no error where it comes again."""
    with start_worker(TEST_CONF=repr({"task_acks_late": late}), **NEVER) as worker:
        with root() as trace_id:
            worker.send("sleeps")
        inspect = worker.app.control.inspect([worker.hostname])
        wait_until(lambda: any((inspect.active() or {}).values()))
        worker.stop(signal.SIGQUIT)
        told = [span for span in worker.sink.spans if span.kind == "CONSUMER"]
        assert [span.trace_id for span in told] == [trace_id]
        is_retry = told[0].attributes["celery.state"] == "RETRY"
        assert told[0].status == ("UNSET" if late and is_retry else "ERROR")


@pytest.mark.soak
@pytest.mark.promise("CEL-40")
def test_the_flush_is_bounded(start_worker: StartWorker) -> None:
    """With a collector that never answers, stopping takes no longer than the bound on top of Celery's own time."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        start_worker(
            TEST_COLLECTOR=f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces",
            TEST_OPTIONS="dict(flush_timeout_s=1.0)",
            **NEVER,
        ) as worker,
    ):
        with root():
            worker.send("ok").get(timeout=30)
        begin = time.monotonic()
        worker.stop()
        assert time.monotonic() - begin < 12


@pytest.mark.promise("CEL-40")
@pytest.mark.parametrize(
    "signal_",
    [signals.worker_shutdown, signals.worker_process_shutdown],
    ids=["worker", "child"],
)
def test_any_provider_is_flushed_within_the_bound(
    spans: SpanRecorder, monkeypatch: pytest.MonkeyPatch, signal_: signals.Signal
) -> None:
    """One that is not obs-core's, too, and that keeps no deadline."""
    asked, release = threading.Event(), threading.Event()
    monkeypatch.setattr(
        trace.get_tracer_provider(),
        "force_flush",
        lambda _: asked.set() or release.wait(60),
    )
    handle = instrument_celery(flush_timeout_s=0.2)
    begin = time.monotonic()
    signal_.send(sender=None)
    took_s = time.monotonic() - begin
    handle.uninstrument()
    release.set()
    assert asked.is_set()
    assert 0.2 <= took_s < 20


@pytest.mark.promise("CEL-10", "CEL-40")
@pytest.mark.parametrize("pool", ["threads", "solo", "gevent", "eventlet"])
def test_every_pool(start_worker: StartWorker, pool: str) -> None:
    """Many tasks at a time: each body's span stands below its own execution, attempts are siblings, revoked ones are told."""
    with start_worker(
        pool=pool, concurrency=1 if pool == "solo" else 10, **NEVER
    ) as worker:
        worker.wait_idle()  # with greenlets, it is ready before it hears of a revoke
        with root() as trace_id:
            results = [worker.send("naps", 0.05) for _ in range(10)]
            retried = worker.send("retries", 2)
            failed = worker.send("fails")
            revoked = worker.send("ok", countdown=1)
            worker.app.control.revoke(revoked.id)
        [result.get(timeout=30) for result in results]
        assert retried.get(timeout=30) == 2
        assert isinstance(failed.get(timeout=30, propagate=False), ValueError)
        wait_until(revoked.ready)
        worker.stop()
        spans = [span for span in worker.sink.spans if span.trace_id == trace_id]
        naps = {span.span_id for span in spans if "naps" in span.name}
        assert len(naps) == 10
        assert {span.parent_id for span in spans if span.name == "nap"} == naps
        attempts = [
            span
            for span in spans
            if span.name.startswith("process") and "retries" in span.name
        ]
        assert (len(attempts), len({span.parent_id for span in attempts})) == (3, 1)
        assert [s.attributes["celery.state"] for s in spans if s.status == "ERROR"] == [
            "FAILURE"
        ]
        assert [
            s.attributes["celery.state"]
            for s in spans
            if s.attributes.get("celery.task.id") == revoked.id
        ] == ["REVOKED"]


@pytest.mark.promise("CEL-40", "CORE-28")
def test_with_a_spool_a_killed_child_loses_nothing_finished(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    """Killed before its first export; the main process, or the child's successor, exports what it had finished."""
    with start_worker(
        concurrency=1, TEST_SCHEDULE_DELAY_S="3", TEST_SPOOL=str(tmp_path / "spool")
    ) as worker:
        with root():
            results = [worker.send("ok") for _ in range(10)]
            worker.send("killed", 0)
        assert [result.get(timeout=30) for result in results] == [1] * 10
        spans = worker.sink.wait_for(
            lambda spans: len(finished(spans)) == 10 and len(spans) >= 22
        )
        assert len([span for span in spans if span.name == "body"]) == 11
        (lost,) = [span for span in spans if span.status == "ERROR"]
        assert lost.attributes["error.type"] == "billiard.exceptions.WorkerLostError"
        worker.stop(signal.SIGTERM)
        assert len(worker.sink.spans) == 22
        assert list((tmp_path / "spool").iterdir()) == []


TEST_WORKER = """
from celery import Celery
from celery.contrib.testing.worker import start_worker
from obs_celery import instrument_celery
from obs_core.integration import is_worker_process

app = Celery("tested", broker="memory://", backend="cache+memory://")
instrument_celery(app)
with start_worker(app, perform_ping_check=False):
    assert is_worker_process()
assert not is_worker_process()
"""


@pytest.mark.promise("CEL-50")
def test_a_worker_for_tests_leaves_no_mark() -> None:
    """Celery's in-process test worker ends without `worker_shutdown`; the process is then no worker any more."""
    subprocess.run([sys.executable, "-c", TEST_WORKER], check=True, timeout=60)
