"""celery-batches: many messages, a single execution, on a real prefork worker."""

from __future__ import annotations

import pytest
from obs_celery_worker import StartWorker, root
from obs_core.testing import SinkSpan, SpanRecorder

pytest.importorskip("celery_batches")


def batches(found: list[SinkSpan]) -> list[SinkSpan]:
    """The executions among `found`."""
    return [span for span in found if span.kind == "CONSUMER"]


@pytest.mark.promise("CEL-48")
@pytest.mark.parametrize(
    ("pool", "task"),
    [
        ("prefork", "collect"),
        ("prefork", "collect_fails"),
        ("threads", "collect_fails"),
        ("solo", "collect"),
        ("gevent", "collect_fails"),
    ],
)
def test_a_batch_is_a_span_with_a_link_to_each_producer(
    start_worker: StartWorker, spans: SpanRecorder, pool: str, task: str
) -> None:
    """Number of messages, place, host and the longest wait; an exception is ERROR, which Celery itself does not report."""
    with start_worker(
        "--prefetch-multiplier=0", pool=pool, concurrency=1, TEST_BATCHES="3"
    ) as worker:
        with root():
            for number in range(3):
                worker.send(task, number)
        received = worker.sink.wait_for(lambda found: bool(batches(found)))
        log = worker.log.read_text()
    (batch,) = batches(received)
    producers = [
        span.context for span in spans.finished if span.kind.name == "PRODUCER"
    ]
    assert (batch.name, batch.parent_id) == (f"process obs_celery_app.{task}", 0)
    assert sorted(batch.links) == sorted(
        (made.trace_id, made.span_id) for made in producers
    )
    assert batch.attributes["messaging.batch.message_count"] == len(batch.links) == 3
    assert batch.attributes["messaging.destination.name"] == worker.queue
    assert batch.attributes["celery.hostname"] == worker.hostname
    first = min(
        span.start_time or 0 for span in spans.finished if span.kind.name == "PRODUCER"
    )
    assert (
        0 <= batch.attributes["celery.queue_wait"] <= (batch.start_time - first) / 1e9
    )
    failed = task == "collect_fails"
    assert (batch.status, batch.attributes.get("error.type")) == (
        ("ERROR", "ValueError") if failed else ("UNSET", None)
    )
    assert batch.attributes["celery.state"] == ("FAILURE" if failed else "SUCCESS")
    assert [name for name, _ in batch.events] == (["exception"] if failed else [])
    assert [span.parent_id for span in received if span.name == "body"] == [
        batch.span_id
    ]
    assert log.count("Traceback") == int(failed)


@pytest.mark.promise("CEL-48")
def test_a_task_that_catches_what_a_batch_raises_has_not_failed(
    start_worker: StartWorker, spans: SpanRecorder
) -> None:
    """It called the batch task as a function: no batch, and no failure of the caller."""
    with start_worker(concurrency=1, TEST_BATCHES="1") as worker:
        worker.send("collect")  # a batch has been seen
        with root() as trace_id:
            assert worker.send("calls_a_batch").get(timeout=30) == "caught"
        (caller,) = worker.spans(trace_id, lambda found: bool(batches(found)))[:1]
    assert (caller.name, caller.status) == (
        "process obs_celery_app.calls_a_batch",
        "UNSET",
    )
    assert caller.attributes["celery.state"] == "SUCCESS"
