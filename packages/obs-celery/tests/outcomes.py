"""Print what each outcome of a task looks like, from the spans that a real prefork worker really sent.

    PYTHONPATH=. python packages/obs-celery/tests/outcomes.py [broker URL …]

from the root of the repository: on an embedded Redis, and on each broker named; results are kept in that Redis in any case.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from celery import chain, chord, group
from obs_celery import instrument_celery
from obs_celery_worker import MODULE, Worker, root, running_worker, story
from obs_core.testing import OtlpSink, SinkSpan, SpanRecorder, record_spans

from tests.services import embedded_redis

#: What to send: (outcome, task, its arguments, executions to wait for).
SENT = [
    ("success", "ok", (), 1),
    ("failure", "fails", (), 1),
    ("expected (throws)", "throws", (), 1),
    ("Ignore", "ignores", (), 1),
    ("Reject", "rejects", (), 1),
    ("Reject, requeued", "requeues", (), 2),
    ("two retries", "retries", (2,), 3),
    ("retries, then failure", "retries", (1, True), 2),
    ("soft time limit", "soft", (), 1),
    ("hard time limit", "hard", (), 1),
    ("SIGKILL", "killed", (), 1),
    ("sys.exit(3)", "exits", (), 1),
    ("unknown task", "no_such_task", (), 1),
]


def main(urls: list[str]) -> None:
    """Print a table for each broker, then one whole trace."""
    with embedded_redis() as redis:
        for broker in [redis, *urls]:
            with world(broker, redis) as (worker, recorder):
                print(f"\n{worker.app.connection_for_write().as_uri()}, prefork\n")
                print_table(worker, recorder)
                print("\na chain of a group into a chord, with a retry inside\n")
                print(a_whole_trace(worker, recorder))


@contextmanager
def world(broker: str, redis: str) -> Iterator[tuple[Worker, SpanRecorder]]:
    """Run a worker on `broker`."""
    with (
        tempfile.TemporaryDirectory() as folder,
        OtlpSink() as sink,
        record_spans() as recorder,
    ):
        handle = instrument_celery()
        with running_worker(sink, broker, redis, Path(folder), concurrency=3) as worker:
            yield worker, recorder
            with worker.app.connection_for_write() as connection:
                worker.app.amqp.queues[worker.queue](
                    connection.default_channel
                ).delete()
        handle.uninstrument()


def print_table(worker: Worker, recorder: SpanRecorder) -> None:
    """Print one line an execution."""
    print(
        f"{'outcome':24}{'spans':7}{'parent':10}{'links':20}{'status':8}{'celery.state':14}error.type"
    )
    for outcome, task, arguments, executions in SENT:
        rows(
            outcome,
            executions,
            worker,
            recorder,
            lambda task=task, arguments=arguments: worker.send(task, *arguments),
        )
    rows(
        "expired",
        1,
        worker,
        recorder,
        lambda: worker.send("ok", countdown=0.1, expires=0.01),
    )
    rows(
        "revoked",
        1,
        worker,
        recorder,
        lambda: worker.app.control.revoke(worker.send("ok", countdown=2).id),
    )
    rows("terminated", 1, worker, recorder, lambda: terminate(worker))


def terminate(worker: Worker) -> None:
    """Start a task and kill it as soon as it runs."""
    before = len(worker.sink.named("body"))
    sent = worker.send("sleeps")
    worker.sink.wait_for(
        lambda spans: len([span for span in spans if span.name == "body"]) > before
    )
    worker.app.control.revoke(sent.id, terminate=True)


def rows(
    outcome: str,
    executions: int,
    worker: Worker,
    recorder: SpanRecorder,
    send: Callable[[], object],
) -> None:
    """Send, wait, and print what came."""
    with root() as trace_id:
        send()
    received = worker.spans(trace_id, lambda spans: len(consumers(spans)) >= executions)
    time.sleep(0.3)
    mine = {span.context.span_id: "publish" for span in recorder.finished}
    attempts = consumers(worker.spans(trace_id, len(received)))
    known = {span.span_id: f"attempt {index}" for index, span in enumerate(attempts, 1)}
    for index, span in enumerate(attempts):
        links = ", ".join(known.get(link[1], "?") for link in span.links) or "-"
        told = (
            span.attributes.get("celery.state", ""),
            span.attributes.get("error.type", "-"),
        )
        first = (outcome, str(len(attempts))) if index == 0 else ("", "")
        parent = mine.get(span.parent_id, "?")
        print(
            f"{first[0]:24}{first[1]:7}{parent:10}{links:20}{span.status:8}{told[0]:14}{told[1]}"
        )


def consumers(spans: list[SinkSpan]) -> list[SinkSpan]:
    """The executions among `spans`."""
    return [span for span in spans if span.kind == "CONSUMER"]


def a_whole_trace(worker: Worker, recorder: SpanRecorder) -> str:
    """Run Celery's own canvas and return it as a tree."""
    recorder.clear()
    header = group(
        [
            worker.signature("add", 1),
            worker.signature("retries", 1).set(immutable=True),
        ],
        app=worker.app,
    )
    with root() as trace_id:
        chain(
            worker.signature("add", 1, 1),
            chord(header, worker.signature("total"), app=worker.app),
        ).apply_async()
    received = worker.spans(
        trace_id,
        lambda spans: any(span.name == f"process {MODULE}.total" for span in spans),
    )
    time.sleep(1)
    return story(
        recorder,
        worker.spans(trace_id, len(received)),
        "celery.retries",
        "celery.state",
    )


if __name__ == "__main__":
    main(sys.argv[1:])
