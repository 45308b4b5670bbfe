"""Beat: a real ``celery beat`` process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery, signals
from celery.beat import ScheduleEntry, Scheduler, Service
from celery.schedules import schedule
from obs_celery_worker import HERE, StartWorker, Worker, root
from obs_core.testing import SinkSpan, SpanRecorder
from opentelemetry import trace


@pytest.mark.promise("CEL-18", "CEL-01")
def test_each_tick_is_a_trace_with_its_entrys_name(
    shared_worker: Worker, redis_url: str, tmp_path: Path
) -> None:
    """The publish is the root, the execution stands below it."""
    env = {
        **os.environ,
        "TEST_BROKER": redis_url,
        "TEST_QUEUE": shared_worker.queue,
        "TEST_COLLECTOR": shared_worker.sink.url,
        "TEST_BEAT": "0.3",
        "PYTHONPATH": str(HERE),
    }
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "obs_celery_app",
        "beat",
        "-s",
        str(tmp_path / "schedule"),
        "--max-interval",
        "1",
    ]

    with (tmp_path / "beat.log").open("w") as log:
        beat = subprocess.Popen(command, cwd=HERE, env=env, stdout=log, stderr=log)
        try:
            spans = shared_worker.sink.wait_for(lambda spans: len(executed(spans)) >= 2)
        finally:
            beat.terminate()
            beat.wait(20)
    assert_each_is_a_trace(ticks(spans))


@pytest.mark.promise("CEL-18")
def test_beat_inside_a_worker(start_worker: StartWorker, tmp_path: Path) -> None:
    """``worker -B``: the same, from the process that the worker starts for it."""
    with start_worker(
        "-B", "-s", str(tmp_path / "schedule"), TEST_BEAT="0.3"
    ) as worker:
        try:
            assert_each_is_a_trace(
                ticks(worker.sink.wait_for(lambda spans: len(executed(spans)) >= 2))
            )
        finally:
            worker.stop()  # killed, as the fixture does it, it would leave its beat behind


@pytest.mark.promise("CEL-18")
def test_a_tick_is_a_root_whatever_is_around_it(traced: SpanRecorder) -> None:
    """A scheduler that is traced itself, or has something current: the tick takes nothing of it, and gives it back."""
    app = Celery("beat", broker="memory://", set_as_current=False)
    beat = Service(app, scheduler_cls=Scheduler)
    signals.beat_init.send(sender=beat)
    with root() as trace_id:
        beat.scheduler.apply_async(
            ScheduleEntry("due", "work", schedule=schedule(60), app=app), advance=False
        )
        assert trace.get_current_span().get_span_context().trace_id == trace_id
    published = traced.one("publish work")
    assert (published.parent, published.context.trace_id != trace_id) == (None, True)
    assert (published.attributes or {})["celery.beat.entry"] == "due"


@pytest.mark.promise("CEL-18")
@pytest.mark.parametrize("scheduler", ["redbeat", "django"])
def test_schedulers_of_others_name_their_entries(
    scheduler: str, traced: SpanRecorder, redis_url: str, tmp_path: Path
) -> None:
    """Redbeat keeps its entries in Redis and django-celery-beat in a database; the due one is named on each tick."""
    command = [sys.executable, str(HERE / "obs_celery_schedulers.py"), scheduler]
    env = {
        **os.environ,
        "TEST_BROKER": redis_url,
        "TEST_DATABASE": str(tmp_path / "beat.sqlite"),
        "PYTHONPATH": str(HERE),
    }
    pytest.importorskip("redbeat" if scheduler == "redbeat" else "django_celery_beat")
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines()[-1] == "publish work: PRODUCER, root, nightly"


@pytest.mark.promise("CEL-18")
def test_a_periodic_task_started_in_djangos_admin_names_its_entry(
    traced: SpanRecorder,
) -> None:
    """By the header that django-celery-beat sets; within the request's trace."""
    app = Celery("beat", broker="memory://", set_as_current=False)
    with root() as trace_id:
        app.send_task("work", headers={"periodic_task_name": "nightly"})
    published = traced.one("publish work")
    assert published.context.trace_id == trace_id
    assert (published.attributes or {})["celery.beat.entry"] == "nightly"


def ticks(spans: list[SinkSpan]) -> list[SinkSpan]:
    """What beat has published."""
    return [
        span
        for span in spans
        if span.attributes.get("celery.beat.entry") == "every-now-and-then"
    ]


def executed(spans: list[SinkSpan]) -> list[SinkSpan]:
    """What was executed of that."""
    known = {span.span_id for span in ticks(spans)}
    return [
        span for span in spans if span.kind == "CONSUMER" and span.parent_id in known
    ]


def assert_each_is_a_trace(published: list[SinkSpan]) -> None:
    """Roots, each with a trace of its own."""
    assert {(span.kind, span.parent_id) for span in published} == {("PRODUCER", 0)}
    assert len({span.trace_id for span in published}) == len(published)
