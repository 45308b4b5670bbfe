"""What the body's process tells: a real prefork worker on Redis."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest
from celery import VERSION
from obs_celery_worker import MODULE, StartWorker, Worker, as_sink_span, root, story
from obs_core.testing import SinkSpan, SpanRecorder
from opentelemetry import baggage, context, trace

#: By whom a task that exits is told: see `obs_celery._execution._is_being_killed`.
EXITED = "billiard.exceptions.WorkerLostError" if VERSION >= (5, 7) else "SystemExit"


@pytest.mark.promise("CEL-01", "CEL-10")
def test_a_task_is_one_trace_with_its_body(worker: Worker, spans: SpanRecorder) -> None:
    """Publish, execution and the body's spans stand below each other."""
    with root() as trace_id:
        worker.send("ok")
    received = worker.spans(trace_id, 2)
    assert (
        story(spans, received)
        == """\
root [INTERNAL]
  publish ok [PRODUCER]
    process ok [CONSUMER]
      body [INTERNAL]"""
    )


@pytest.mark.promise("CEL-30")
def test_the_execution_as_a_whole(worker: Worker, redis_url: str) -> None:
    """Every attribute of an ordinary execution, and nothing else."""
    with root() as trace_id:
        result = worker.send("add", 1, 2)
    (span,) = worker.spans(trace_id, 1)
    attributes = dict(span.attributes)
    assert 0 <= attributes.pop("celery.queue_wait") < 30
    assert (span.name, span.kind, span.status, span.events, span.links) == (
        f"process {MODULE}.add",
        "CONSUMER",
        "UNSET",
        (),
        (),
    )
    assert attributes == {
        "messaging.system": "redis",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": worker.queue,
        "messaging.message.id": result.id,
        "server.address": "127.0.0.1",
        "server.port": int(redis_url.rpartition(":")[2].partition("/")[0]),
        "celery.task.name": f"{MODULE}.add",
        "celery.task.id": result.id,
        "celery.root_id": result.id,
        "celery.retries": 0,
        "celery.hostname": worker.hostname,
        "celery.state": "SUCCESS",
    }


@pytest.mark.promise("CEL-11", "CEL-13")
@pytest.mark.parametrize(
    ("task", "status", "expected"),
    [
        ("fails", "ERROR", {"celery.state": "FAILURE", "error.type": "ValueError"}),
        ("throws", "UNSET", {"celery.state": "FAILURE", "celery.reason": "'expected'"}),
        ("ignores", "UNSET", {"celery.state": "IGNORED", "celery.reason": "not now"}),
        (
            "rejects",
            "UNSET",
            {
                "celery.state": "REJECTED",
                "celery.reason": "bad message",
                "celery.requeue": False,
            },
        ),
        (
            "soft",
            "ERROR",
            {
                "celery.state": "FAILURE",
                "error.type": "billiard.exceptions.SoftTimeLimitExceeded",
            },
        ),
        ("exits", "ERROR", {"celery.state": "FAILURE", "error.type": EXITED}),
    ],
)
def test_outcomes(
    worker: Worker, task: str, status: str, expected: dict[str, object]
) -> None:
    """Each way to end is told by one span: a failure as an error with one exception record, an asked-for end as none."""
    with root() as trace_id:
        worker.send(task)
    (span,) = worker.spans(trace_id, 1)
    told = {
        key: value
        for key, value in span.attributes.items()
        if key in {"celery.reason", "celery.requeue", *expected}
    }
    if task == "exits":
        assert "exit" in str(told.pop("celery.reason", "exit"))
    assert (span.status, told) == (status, expected)
    assert [name for name, _ in span.events] == (
        ["exception"] if status == "ERROR" else []
    )


@pytest.mark.promise("CEL-11")
def test_a_requeued_reject_is_no_error(worker: Worker) -> None:
    """Both deliveries are told, side by side."""
    with root() as trace_id:
        worker.send("requeues")
    first, second = worker.spans(trace_id, 2)
    assert [
        (span.status, span.attributes["celery.state"]) for span in (first, second)
    ] == [
        ("UNSET", "REJECTED"),
        ("UNSET", "SUCCESS"),
    ]
    assert first.attributes["celery.requeue"] is True
    assert first.parent_id == second.parent_id


@pytest.mark.promise("CEL-12", "CEL-30")
def test_attempts_are_siblings(worker: Worker, spans: SpanRecorder) -> None:
    """Each attempt stands under the original producer and is linked to the one before; only the last failure is an error."""
    with root() as trace_id:
        worker.send("retries", 2, True)
    received = worker.spans(trace_id, 8)
    assert (
        story(spans, received, "celery.retries")
        == """\
root [INTERNAL]
  publish retries [PRODUCER] celery.retries=0
    process retries [CONSUMER] celery.retries=0
      body [INTERNAL]
      publish retries [PRODUCER] celery.retries=1
    process retries [CONSUMER] celery.retries=1
      body [INTERNAL]
      publish retries [PRODUCER] celery.retries=2
    process retries [CONSUMER] ERROR celery.retries=2
      body [INTERNAL]"""
    )
    attempts = [span for span in received if span.kind == "CONSUMER"]
    assert [span.links for span in attempts] == [
        (),
        ((trace_id, attempts[0].span_id),),
        ((trace_id, attempts[1].span_id),),
    ]
    assert "ValueError" in attempts[0].attributes["celery.reason"]


@pytest.mark.promise("CEL-03", "CEL-12")
def test_headers_do_not_grow(worker: Worker) -> None:
    """After 50 retries the headers are as they were after the first, and so is the trace."""
    with root() as trace_id:
        few, _ = worker.send("header_size", 1).get(timeout=30)
        many, attempts = worker.send("header_size", 50).get(timeout=60)
    assert (attempts, many - few) == (50, 0)
    received = worker.spans(
        trace_id, lambda spans: len([s for s in spans if s.kind == "CONSUMER"]) == 53
    )
    assert len({span.parent_id for span in received if span.kind == "CONSUMER"}) == 2


@pytest.mark.promise("CEL-03")
def test_user_headers_and_baggage_arrive(worker: Worker) -> None:
    """What the user put into the headers survives, and baggage is there in the body."""
    token = context.attach(baggage.set_baggage("tenant", "blue"))
    try:
        assert worker.send("baggage_of", "tenant").get(timeout=30) == "blue"
    finally:
        context.detach(token)
    headers = worker.send("request_of", headers={"x-mine": "untouched"}).get(timeout=30)
    assert headers["x-mine"] == "untouched"


@pytest.mark.promise("CEL-03")
def test_huge_headers(worker: Worker, spans: SpanRecorder) -> None:
    """A foreign header of 1 MB arrives as it was, baggage of 64 kB is nobody's undoing; neither gets onto a span."""
    token = context.attach(baggage.set_baggage("tenant", "b" * 65_536))
    try:
        with root() as trace_id:
            sent = worker.send("request_of", headers={"x-huge": "x" * 1_000_000})
            worker.send("ok", headers={"baggage": f"tenant={'b' * 65_536}"})
    finally:
        context.detach(token)
    assert len(sent.get(timeout=30)["x-huge"]) == 1_000_000
    received = worker.spans(trace_id, 3)
    published = {span.context.span_id for span in spans.finished}
    assert [
        span.parent_id in published for span in received if span.kind == "CONSUMER"
    ] == [
        True,
        True,
    ]
    assert (
        max(len(str(value)) for span in received for value in span.attributes.values())
        < 1_000
    )


@pytest.mark.promise("CEL-03")
def test_huge_baggage_of_a_stranger(shared_worker: Worker) -> None:
    """64 kB of it, from a producer that is not ours, are left out, and the trace goes on."""
    trace_id = uuid.uuid4().int
    headers = {
        "traceparent": f"00-{trace_id:032x}-00000000000000ff-01",
        "baggage": f"tenant={'b' * 65_536}",
    }
    assert (
        shared_worker.send("baggage_of", "tenant", headers=headers).get(timeout=30)
        == "None"
    )
    (span,) = shared_worker.spans(trace_id, 1)
    assert span.parent_id == 0xFF


@pytest.mark.promise("CEL-04")
def test_an_unsampled_producer_leaves_no_span(worker: Worker) -> None:
    """The decision of the producer holds in the worker; baggage still travels."""
    parent = trace.SpanContext(0xABC0DE << 80 | 1, 0xF00, True, trace.TraceFlags(0))
    token = context.attach(
        baggage.set_baggage(
            "tenant", "red", trace.set_span_in_context(trace.NonRecordingSpan(parent))
        )
    )
    try:
        assert worker.send("baggage_of", "tenant").get(timeout=30) == "red"
        worker.send("retries", 2).get(timeout=30)
    finally:
        context.detach(token)
    with root() as trace_id:
        worker.send("ok")
    worker.spans(trace_id, 2)
    assert [
        span for span in worker.sink.spans if span.trace_id == parent.trace_id
    ] == []


@pytest.mark.promise("CEL-04")
def test_a_workers_sampler_that_does_not_follow_the_producer_is_asked(
    start_worker: StartWorker,
) -> None:
    """Of an execution that ends by itself, and of a killed one, which the main process records."""
    parent = trace.SpanContext(0xABC0DE << 80 | 2, 0xF00, True, trace.TraceFlags(0))
    with start_worker(
        OTEL_TRACES_SAMPLER="always_on", TEST_FOREIGN_PROVIDER="1"
    ) as worker:
        with trace.use_span(trace.NonRecordingSpan(parent)):
            worker.send("ok")
            worker.send("killed")
        received = worker.spans(parent.trace_id, 4)
    attempts = [span for span in received if span.kind == "CONSUMER"]
    assert [span.parent_id for span in attempts] == [parent.span_id] * 2
    assert sorted(span.attributes["celery.state"] for span in attempts) == [
        "FAILURE",
        "SUCCESS",
    ]


@pytest.mark.promise("CEL-04")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": "garbage"},
        {"traceparent": 7, "baggage": ["x"]},
        {"traceparent": "00-" + "z" * 52},
    ],
)
def test_an_uninstrumented_or_broken_producer_gives_a_root(
    shared_worker: Worker, headers: dict[str, object]
) -> None:
    """The execution is a trace of its own, retries stay in it."""
    result = shared_worker.send("retries", 1, headers=headers)
    assert result.get(timeout=30) == 1
    spans = shared_worker.sink.wait_for(
        lambda spans: (
            len([s for s in spans if s.attributes.get("celery.task.id") == result.id])
            == 3
        )
    )
    mine = [
        span for span in spans if span.attributes.get("celery.task.id") == result.id
    ]
    assert len({span.trace_id for span in mine}) == 1
    assert [
        span.parent_id for span in mine if span.attributes["celery.retries"] == 0
    ] == [0]


@pytest.mark.promise("CEL-01", "CEL-30")
def test_a_publish_inside_a_task_belongs_to_it(
    worker: Worker, spans: SpanRecorder
) -> None:
    """`delay` in the body; both sides know the task that it came from."""
    with root() as trace_id:
        outer = worker.send("publishes").id
    received = worker.spans(trace_id, 4)
    inner = [span.attributes for span in received if span.name.endswith(".ok")]
    assert [
        (found["celery.parent_id"], found["celery.root_id"]) for found in inner
    ] == [(outer, outer)] * 2
    assert (
        story(spans, received)
        == """\
root [INTERNAL]
  publish publishes [PRODUCER]
    process publishes [CONSUMER]
      publish ok [PRODUCER]
        process ok [CONSUMER]
          body [INTERNAL]"""
    )


@pytest.mark.promise("CEL-30", "CEL-31")
def test_queue_wait_and_eta_are_told_apart(worker: Worker, spans: SpanRecorder) -> None:
    """A countdown is no waiting."""
    with root() as trace_id:
        worker.send("ok", countdown=1.5)
    span = worker.spans(trace_id, 2)[0]
    assert 1.0 < span.attributes["celery.eta_delay"] <= 1.6
    (producer,) = [
        as_sink_span(span) for span in spans.finished if span.name.startswith("publish")
    ]
    assert span.attributes["celery.eta"] == producer.attributes["celery.eta"]
    assert_counted_from(producer, span)


@pytest.mark.promise("CEL-31")
def test_an_eta_long_gone_is_no_delay(worker: Worker, spans: SpanRecorder) -> None:
    """The wait begins with the sending."""
    with root() as trace_id:
        worker.send("ok", eta=datetime.now(timezone.utc) - timedelta(hours=1))
    span = worker.spans(trace_id, 2)[0]
    (producer,) = [
        as_sink_span(span) for span in spans.finished if span.name.startswith("publish")
    ]
    assert "celery.eta_delay" not in span.attributes
    assert_counted_from(producer, span)


@pytest.mark.promise("CEL-31")
def test_a_naive_eta_is_utc_whatever_the_timezone(
    start_worker: StartWorker, spans: SpanRecorder
) -> None:
    """So does Celery's worker take it; the attribute says it, on both sides."""
    with start_worker(TEST_CONF="dict(timezone='Asia/Tokyo')") as worker:
        worker.app.conf.timezone = "Asia/Tokyo"
        due = datetime.now(timezone.utc) + timedelta(seconds=3)
        with root() as trace_id:
            worker.send("ok", eta=due.replace(tzinfo=None))
        span = worker.spans(trace_id, 2)[0]
    published = spans.one("publish obs_celery_app.ok").attributes or {}
    assert span.attributes["celery.eta"] == published["celery.eta"] == due.isoformat()
    assert 0 < span.attributes["celery.eta_delay"] <= 3


@pytest.mark.promise("CEL-12", "CEL-30")
def test_a_retried_task_is_not_its_own_parent(
    worker: Worker, spans: SpanRecorder
) -> None:
    """Celery sends a retry of a top-level task with the task's id as that of its parent."""
    with root() as trace_id:
        worker.send("retries", 1)
    for span in worker.spans(trace_id, 5):
        assert "celery.parent_id" not in span.attributes


@pytest.mark.promise("CEL-31")
def test_a_retry_waits_from_its_own_sending(worker: Worker) -> None:
    """Not from that of the attempt before."""
    with root() as trace_id:
        worker.send("retries", 1)
    received = worker.spans(trace_id, 5)
    (again,) = [span for span in received if span.kind == "PRODUCER"]
    assert_counted_from(
        again, [span for span in received if span.kind == "CONSUMER"][1]
    )


def assert_counted_from(sent: SinkSpan, executed: SinkSpan) -> None:
    """Wait and delay together begin within the publish and end with the start of the execution."""
    counted_s = executed.attributes["celery.queue_wait"] + executed.attributes.get(
        "celery.eta_delay", 0
    )
    longest_s, shortest_s = (
        (executed.start_time - ns) / 1e9 for ns in (sent.start_time, sent.end_time)
    )
    # a busy machine may leave a moment between the reading of the clock and the span's start
    assert shortest_s - 1 < counted_s <= longest_s
    assert executed.attributes["celery.queue_wait"] >= 0


@pytest.mark.promise("CEL-31")
def test_a_clock_ahead_gives_no_negative_wait(shared_worker: Worker) -> None:
    """A producer whose clock is an hour ahead: zero."""
    import time

    result = shared_worker.send("ok", headers={"obs-sent-at": time.time() + 3600})

    def mine(spans: Sequence[SinkSpan]) -> list[SinkSpan]:
        return [s for s in spans if s.attributes.get("celery.task.id") == result.id]

    (span,) = mine(shared_worker.sink.wait_for(lambda spans: bool(mine(spans))))
    assert span.attributes["celery.queue_wait"] == 0


@pytest.mark.promise("CEL-43")
def test_the_child_is_marked_as_a_worker(shared_worker: Worker) -> None:
    """obs-db asks for it, to leave out the broker's and the result backend's own traffic."""
    assert shared_worker.send("knows_its_place").get(timeout=30) is True
