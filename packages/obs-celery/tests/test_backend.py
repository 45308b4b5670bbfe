"""Commands of Celery's own, outside any trace: the result backend's and the broker's are nobody's."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import Celery
from obs_celery_worker import StartWorker, Worker, running_worker
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


def _sent_and_got(worker: Worker) -> object:
    app: Celery = worker.app
    result = app.send_task("obs_celery_app.add", args=(1, 2))
    return result.get(timeout=60)
