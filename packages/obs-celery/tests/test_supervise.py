"""What the main process tells of attempts whose child cannot: a real prefork worker on Redis."""

from __future__ import annotations

import time
from importlib import import_module
from urllib.parse import urlsplit

import pytest
from celery import VERSION
from obs_celery_proxy import Proxy
from obs_celery_worker import StartWorker, Worker, delete_queue, root, story
from obs_core.testing import SinkSpan, SpanRecorder


@pytest.mark.promise("CEL-13")
@pytest.mark.parametrize(
    ("task", "error", "reason"),
    [
        ("unclean", "billiard.exceptions.TimeLimitExceeded", "TimeLimitExceeded"),
        ("hard", "billiard.exceptions.TimeLimitExceeded", "TimeLimitExceeded"),
        ("killed", "billiard.exceptions.WorkerLostError", "SIGKILL"),
    ],
)
def test_a_killed_attempt_is_one_error_span(
    worker: Worker, spans: SpanRecorder, task: str, error: str, reason: str
) -> None:
    """Under its producer, with the true start and end, and the child's finished spans below it."""
    before = time.time()
    with root() as trace_id:
        worker.send(task)
    received = worker.spans(trace_id, 2)
    time.sleep(0.5)  # a second span for the same attempt would have come by now
    assert len(worker.spans(trace_id, 2)) == 2
    assert (
        story(spans, received)
        == f"""\
root [INTERNAL]
  publish {task} [PRODUCER]
    process {task} [CONSUMER] ERROR
      body [INTERNAL]"""
    )
    (span,) = [span for span in received if span.kind == "CONSUMER"]
    body = next(span for span in received if span.name == "body")
    assert span.attributes["error.type"] == error
    assert reason in span.attributes["celery.reason"]
    assert "celery.lost" not in span.attributes
    assert before < span.start_time / 1e9 <= body.start_time / 1e9
    assert 0.3 < (span.end_time - span.start_time) / 1e9 < 20


def executions(spans: list[SinkSpan]) -> list[SinkSpan]:
    """The attempts among `spans`, by start."""
    found = [span for span in spans if span.kind == "CONSUMER"]
    return sorted(found, key=lambda span: span.start_time)


def assert_waits_end_at_the_start(
    received: list[SinkSpan], spans: SpanRecorder
) -> None:
    """Each attempt has waited no longer than from its publish to its start."""
    (published,) = (span for span in spans.finished if span.kind.name == "PRODUCER")
    for attempt in executions(received):
        wait_s = attempt.attributes["celery.queue_wait"]
        assert 0 <= wait_s <= (attempt.start_time - (published.start_time or 0)) / 1e9


@pytest.mark.promise("CEL-46")
@pytest.mark.parametrize("task", ["hard", "killed", "sleeps"])
def test_queue_wait_ends_where_the_killed_attempt_starts(
    worker: Worker, spans: SpanRecorder, task: str
) -> None:
    """The main process records the attempt when it is over, and its run time is no wait."""
    with root() as trace_id:
        result = worker.send(task)
    if task == "sleeps":
        worker.spans(trace_id, 1)
        worker.app.control.revoke(result.id, terminate=True)
    assert_waits_end_at_the_start(worker.spans(trace_id, 2), spans)


@pytest.mark.promise("CEL-46")
def test_queue_wait_of_a_revoked_task_ends_with_the_revoke(
    worker: Worker, spans: SpanRecorder
) -> None:
    """It never started; the delay that its ETA asked for is none of its wait."""
    with root() as trace_id:
        result = worker.send("ok", countdown=2)
        worker.app.control.revoke(result.id)
    received = worker.spans(trace_id, 1)
    assert_waits_end_at_the_start(received, spans)
    assert received[0].attributes["celery.eta_delay"] > 1


def deliver_again(worker: Worker, task_id: str) -> None:
    """Put the message back on its queue while it is being executed, as kombu does after the visibility timeout."""
    with worker.app.connection_for_write() as connection:
        channel = connection.default_channel
        held = channel.client.hgetall("unacked")
        (tag,) = (tag for tag, message in held.items() if task_id.encode() in message)
        channel.qos.restore_by_tag(tag)


def assert_told_apart(received: list[SinkSpan]) -> list[SinkSpan]:
    """Each attempt is a span of its own, with its own child; return them."""
    attempts = executions(received)
    parents = [span.parent_id for span in received if span.kind == "INTERNAL"]
    assert len({span.span_id for span in attempts}) == len(attempts) == 2
    assert [parents.count(span.span_id) for span in attempts] == [1, 1]
    return attempts


@pytest.mark.promise("CEL-45")
@pytest.mark.parametrize("end", ["succeed", "time limit", "terminate"])
def test_two_live_attempts_of_one_message_are_told_apart(
    start_worker: StartWorker, spans: SpanRecorder, end: str
) -> None:
    """Redis delivers it again while it runs; each attempt is recorded once, however it ends.

    ``revoke(terminate=True)`` ends the latest delivery alone, since Celery knows no other.
    """
    conf = {
        "task_acks_late": True,
        "task_time_limit": 10 if end == "time limit" else None,
    }
    with start_worker(TEST_CONF=repr(conf), concurrency=2) as worker:
        with root() as trace_id:
            result = worker.send("sleeps", 30 if end == "time limit" else 10)
        worker.spans(trace_id, 1)
        deliver_again(worker, result.id)
        worker.spans(trace_id, 2)  # the bodies of two attempts
        if end == "terminate":
            worker.app.control.revoke(result.id, terminate=True)
        received = worker.spans(trace_id, lambda found: len(executions(found)) >= 2)
        worker.wait_idle()
        received = worker.spans(trace_id, len(received))
    first, second = assert_told_apart(received)
    states = {
        "succeed": ["SUCCESS", "SUCCESS"],
        "time limit": ["FAILURE", "FAILURE"],
        "terminate": ["SUCCESS", "REVOKED"],
    }
    assert [span.attributes["celery.state"] for span in (first, second)] == states[end]
    assert first.end_time > second.start_time > first.start_time


@pytest.mark.services
@pytest.mark.promise("CEL-45")
@pytest.mark.parametrize("cancels", [False, True])
def test_a_message_that_comes_again_after_a_reconnect(
    start_worker: StartWorker, spans: SpanRecorder, amqp_url: str, cancels: bool
) -> None:
    """RabbitMQ delivers it again; Celery leaves the first attempt running, or cancels it."""
    parts = urlsplit(amqp_url)
    conf = {
        "task_acks_late": True,
        "worker_cancel_long_running_tasks_on_connection_loss": cancels,
    }
    with Proxy(parts.hostname or "", parts.port or 5672) as proxy:
        broker = amqp_url.replace(
            f"{parts.hostname}:{parts.port}", f"127.0.0.1:{proxy.port}"
        )
        with start_worker(TEST_BROKER=broker, TEST_CONF=repr(conf)) as worker:
            with root() as trace_id:
                worker.send("sleeps", 6)
            worker.spans(trace_id, 1)
            proxy.cut()
            received = worker.spans(trace_id, lambda found: len(executions(found)) >= 2)
            delete_queue(worker)
    attempts = assert_told_apart(received)
    assert [span.attributes["celery.state"] for span in attempts] == [
        "RETRY" if cancels else "SUCCESS",
        "SUCCESS",
    ]


@pytest.mark.skipif(
    VERSION < (5, 7), reason="retry_on_worker_lost came with Celery 5.7"
)
@pytest.mark.promise("CEL-12")
def test_a_lost_attempt_that_is_retried_is_no_error(
    worker: Worker, spans: SpanRecorder
) -> None:
    """`retry_on_worker_lost`: the same trace, siblings, linked; the message was sent again by the main process."""
    with root() as trace_id:
        worker.send("killed_once")
    received = worker.spans(
        trace_id,
        lambda spans: len([span for span in spans if span.kind != "INTERNAL"]) == 3,
    )
    first, second = (span for span in received if span.kind == "CONSUMER")
    assert [
        (span.status, span.attributes["celery.state"]) for span in (first, second)
    ] == [
        ("UNSET", "RETRY"),
        ("UNSET", "SUCCESS"),
    ]
    assert "SIGKILL" in first.attributes["celery.reason"]
    assert first.parent_id == second.parent_id
    assert (first.links, second.links) == ((), ((trace_id, first.span_id),))
    assert [span.parent_id for span in received if span.kind == "PRODUCER"] == [
        first.span_id
    ]


@pytest.mark.promise("CEL-13")
def test_a_terminated_attempt_is_one_error_span(worker: Worker) -> None:
    """`revoke(terminate=True)` while it runs."""
    with root() as trace_id:
        result = worker.send("sleeps")
    body = worker.spans(trace_id, 1)[0]
    worker.app.control.revoke(result.id, terminate=True, signal="SIGTERM")
    received = worker.spans(trace_id, 2)
    (span,) = [span for span in received if span.kind == "CONSUMER"]
    assert (span.status, span.span_id) == ("ERROR", body.parent_id)
    assert span.attributes["celery.state"] == "REVOKED"
    assert span.attributes["celery.reason"] == "terminated by SIGTERM"
    assert span.attributes["error.type"] == "billiard.exceptions.Terminated"
    assert span.end_time > span.start_time


@pytest.mark.promise("CEL-13", "CEL-45")
@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_terminated_greenlet_is_one_error_span(
    start_worker: StartWorker, spans: SpanRecorder, pool: str
) -> None:
    """Of the execution itself, which is in the same process; `task_revoked` makes no second span."""
    if "terminate_job" not in vars(
        import_module(f"celery.concurrency.{pool}").TaskPool
    ):
        pytest.skip(f"this Celery terminates no task of its {pool} pool")
    with start_worker(pool=pool) as worker:
        worker.wait_idle()
        with root() as trace_id:
            result = worker.send("sleeps")
        worker.spans(trace_id, 1)
        worker.app.control.revoke(result.id, terminate=True)
        worker.wait_idle()
        worker.stop()
        received = worker.spans(trace_id, 2)
    assert (
        story(spans, received, "celery.state", "error.type")
        == """\
root [INTERNAL]
  publish sleeps [PRODUCER]
    process sleeps [CONSUMER] ERROR celery.state='REVOKED' error.type='greenlet.GreenletExit'
      body [INTERNAL]"""
    )


@pytest.mark.promise("CEL-14")
def test_a_revoked_task_leaves_a_span(worker: Worker, spans: SpanRecorder) -> None:
    """Revoked while it waits for its ETA: no error, the reason on it; it never started, so that nothing is lost."""
    before_ns = time.time_ns()
    with root() as trace_id:
        result = worker.send("ok", countdown=2)
        worker.app.control.revoke(result.id)
    (span,) = worker.spans(trace_id, 1)
    assert span.parent_id == spans.finished[0].context.span_id
    assert before_ns < span.start_time
    assert "celery.lost" not in span.attributes
    assert (span.name.partition(".")[2], span.kind, span.status) == (
        "ok",
        "CONSUMER",
        "UNSET",
    )
    assert (span.attributes["celery.state"], span.attributes["celery.reason"]) == (
        "REVOKED",
        "revoked",
    )


@pytest.mark.promise("CEL-14")
def test_an_expired_task_leaves_a_span(worker: Worker) -> None:
    """It came too late: no error, the reason on it."""
    with root() as trace_id:
        worker.send("ok", countdown=0.1, expires=0.01)
    (span,) = worker.spans(trace_id, 1)
    assert (
        span.status,
        span.attributes["celery.state"],
        span.attributes["celery.reason"],
    ) == (
        "UNSET",
        "REVOKED",
        "expired",
    )


@pytest.mark.promise("CEL-14")
def test_an_unknown_task_leaves_a_span(worker: Worker) -> None:
    """No such task in the worker: the message is thrown away, which is an error."""
    with root() as trace_id:
        worker.send("no_such_task")
    (span,) = worker.spans(trace_id, 1)
    assert (span.status, span.attributes["celery.state"]) == ("ERROR", "REJECTED")
    assert span.attributes["error.type"] == "celery.exceptions.NotRegistered"


@pytest.mark.promise("CEL-13")
def test_with_a_foreign_provider_the_span_says_that_it_stands_in(
    start_worker: StartWorker,
) -> None:
    """Ids cannot be agreed on: still one error span under the producer, marked, and none from the child."""
    with start_worker(TEST_FOREIGN_PROVIDER="1") as worker:
        with root() as trace_id:
            worker.send("killed")
        received = worker.spans(
            trace_id,
            lambda spans: len([span for span in spans if span.kind == "CONSUMER"]) == 1,
        )
        (span,) = [span for span in received if span.kind == "CONSUMER"]
        assert (span.status, span.attributes["celery.lost"]) == ("ERROR", True)
