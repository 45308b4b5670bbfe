"""Commands of Celery's own, the broker's and the result backend's: told by the spans of the tasks, in every process."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import Celery
from kombu import Connection
from obs_celery_worker import StartWorker, Worker, root, running_worker, story
from obs_core.testing import OtlpSink, SpanRecorder


@pytest.mark.promise("CEL-49")
def test_waiting_for_results_makes_no_root_spans_on_redis(
    start_worker: StartWorker, spans: SpanRecorder
) -> None:
    """A script that sends and waits; a command of its own is a root as ever."""
    pytest.importorskip("obs_db")
    from obs_db import instrument_redis

    handle = instrument_redis()
    try:
        with start_worker() as worker:
            assert _sent_and_got(worker) == 3
            worker.app.backend.client.connection_pool.disconnect()
            from redis import Redis

            with Redis.from_url(worker.app.conf.broker_url) as client:
                client.ping()
    finally:
        handle.uninstrument()
    assert [span.name for span in spans.finished if span.parent is None] == [
        "publish obs_celery_app.add",
        "PING",
    ]


@pytest.mark.promise("CEL-49")
def test_waiting_for_results_makes_no_root_spans_on_sql(
    redis_url: str,
    tmp_path: Path,
    otlp_sink: OtlpSink,
    spans: SpanRecorder,
    traced: SpanRecorder,
) -> None:
    """The result backend on a database."""
    pytest.importorskip("obs_db")
    from obs_db import instrument_sqlalchemy

    handle = instrument_sqlalchemy()
    backend = f"db+sqlite:///{tmp_path / 'results.sqlite'}"
    try:
        with running_worker(otlp_sink, redis_url, backend, tmp_path) as worker:
            assert _sent_and_got(worker) == 3
    finally:
        handle.uninstrument()
    roots = [span.name for span in spans.finished if span.parent is None]
    assert roots == ["publish obs_celery_app.add"]


@pytest.mark.promise("CEL-49")
def test_a_request_shows_its_own_commands_and_not_celerys_on_redis(
    start_worker: StartWorker, spans: SpanRecorder
) -> None:
    """Below ``publish``, while the result is waited for, and in the worker: what the application asks is alone."""
    pytest.importorskip("obs_db")
    from obs_db import instrument_redis

    handle = instrument_redis()
    try:
        with start_worker(TEST_REDIS="{}") as worker:
            trace_id = _request(worker)
            received = worker.spans(trace_id, 3)
    finally:
        handle.uninstrument()
    assert (
        story(spans, received)
        == """\
root [INTERNAL]
  PING [CLIENT]
  publish asks_redis [PRODUCER]
    process asks_redis [CONSUMER]
      body [INTERNAL]
      INCRBY [CLIENT]"""
    )


@pytest.mark.promise("CEL-49")
def test_the_brokers_commands_are_there_where_they_are_asked_for(
    start_worker: StartWorker, spans: SpanRecorder
) -> None:
    """``include_broker=True``, in the producer and in the worker; outside any span there is still nothing."""
    pytest.importorskip("obs_db")
    from obs_db import instrument_redis

    handle = instrument_redis(include_broker=True)
    try:
        with start_worker(TEST_REDIS="dict(include_broker=True)") as worker:
            trace_id = _request(worker)
            received = worker.spans(trace_id, 4)
            assert _sent_and_got(worker) == 3
    finally:
        handle.uninstrument()
    published = spans.one("publish obs_celery_app.asks_redis").context
    below = [
        span.name
        for span in spans.finished
        if span.parent is not None and span.parent.span_id == published.span_id
    ]
    assert "LPUSH" in below
    (executed,) = (span for span in received if span.kind == "CONSUMER")
    of_worker = [span.name for span in received if span.parent_id == executed.span_id]
    assert {"INCRBY", "PIPELINE"} <= set(of_worker)
    roots = [span.name for span in spans.finished if span.parent is None]
    assert roots == ["root", "publish obs_celery_app.add"]
    assert [span.kind for span in worker.sink.spans if not span.parent_id] == []


def _request(worker: Worker) -> int:
    """Send a task and wait for the result within a span, beside a command of the application's own."""
    from redis import Redis

    with root() as trace_id:
        with Redis.from_url(worker.app.conf.broker_url) as client:
            client.ping()
        assert worker.send("asks_redis").get(timeout=60) > 0
    return trace_id


@pytest.mark.promise("CEL-49")
def test_a_broker_and_results_in_a_database_are_no_statements_of_the_request(
    tmp_path: Path, spans: SpanRecorder, traced: SpanRecorder
) -> None:
    """Kombu's transport on SQLAlchemy, and Celery's result backend there."""
    pytest.importorskip("obs_db")
    from obs_db import instrument_sqlalchemy

    url = f"sqlite:///{tmp_path / 'broker.sqlite'}"
    app = Celery("sql", broker=f"sqla+{url}", backend=f"db+{url}", set_as_current=False)
    for include_broker in (False, True):
        spans.clear()
        handle = instrument_sqlalchemy(include_broker=include_broker)
        with root():
            assert app.send_task("any").state == "PENDING"
        handle.uninstrument()
        names = [span.name for span in spans.finished]
        assert ("INSERT kombu_message" in names) is include_broker
        assert ("SELECT celery_taskmeta" in names) is include_broker
        assert {"publish any", "root"} <= set(names)
        assert len(names) == 2 or include_broker


@pytest.mark.promise("CEL-49")
def test_an_applications_own_queue_of_kombu_is_told_where_it_is_asked_for(
    redis_url: str, spans: SpanRecorder
) -> None:
    """Without a task: kombu alone."""
    pytest.importorskip("obs_db")
    from obs_db import instrument_redis

    for include_broker in (False, True):
        spans.clear()
        handle = instrument_redis(include_broker=include_broker)
        with root(), Connection(redis_url) as connection:
            queue = connection.SimpleQueue("obs-celery-simple")
            queue.put("message")
            queue.clear()
            queue.close()
        handle.uninstrument()
        assert ("LPUSH" in [span.name for span in spans.finished]) is include_broker


def _sent_and_got(worker: Worker) -> object:
    app: Celery = worker.app
    result = app.send_task("obs_celery_app.add", args=(1, 2))
    return result.get(timeout=60)
