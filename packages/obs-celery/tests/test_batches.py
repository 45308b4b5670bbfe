"""celery-batches: many messages, a single execution, on a real prefork worker."""

from __future__ import annotations

import pytest
from obs_celery_worker import StartWorker, root
from obs_core.testing import SinkSpan, SpanRecorder

pytest.importorskip("celery_batches")


@pytest.mark.promise("CEL-48")
@pytest.mark.parametrize("task", ["collect", "collect_fails"])
def test_a_batch_is_a_span_with_a_link_to_each_producer(
    start_worker: StartWorker, spans: SpanRecorder, task: str
) -> None:
    """Number of messages, place and host; what the task raises is ERROR, which Celery itself tells nobody."""

    def batches(found: list[SinkSpan]) -> list[SinkSpan]:
        return [span for span in found if span.kind == "CONSUMER"]

    with start_worker("--prefetch-multiplier=0", concurrency=1, TEST_BATCHES="3") as worker:
        with root():
            for number in range(3):
                worker.send(task, number)
        received = worker.sink.wait_for(lambda found: bool(batches(found)))
        log = worker.log.read_text()
    (batch,) = batches(received)
    producers = [span.context for span in spans.finished if span.kind.name == "PRODUCER"]
    assert (batch.name, batch.parent_id) == (f"process obs_celery_app.{task}", 0)
    assert sorted(batch.links) == sorted((made.trace_id, made.span_id) for made in producers)
    assert batch.attributes["messaging.batch.message_count"] == len(batch.links) == 3
    assert batch.attributes["messaging.destination.name"] == worker.queue
    assert batch.attributes["celery.hostname"] == worker.hostname
    failed = task == "collect_fails"
    assert (batch.status, batch.attributes.get("error.type")) == (
        ("ERROR", "ValueError") if failed else ("UNSET", None)
    )
    assert batch.attributes["celery.state"] == ("FAILURE" if failed else "SUCCESS")
    assert [name for name, _ in batch.events] == (["exception"] if failed else [])
    assert [span.parent_id for span in received if span.name == "body"] == [batch.span_id]
    assert "obs_core" not in log
