"""One worker for many tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from obs_core.testing import OtlpSink, SpanRecorder

sys.path.insert(0, str(Path(__file__).parent))

from obs_celery_worker import StartWorker, Worker, running_worker


@pytest.fixture(scope="session")
def shared_sink() -> Iterator[OtlpSink]:
    """The receiver of the shared workers."""
    with OtlpSink() as sink:
        yield sink


@pytest.fixture(scope="session")
def shared_worker(
    redis_url: str, shared_sink: OtlpSink, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    """A prefork worker on Redis for the whole session."""
    with running_worker(
        shared_sink,
        redis_url,
        redis_url,
        tmp_path_factory.mktemp("worker"),
        concurrency=3,
    ) as worker:
        yield worker


@pytest.fixture
def traced(spans: SpanRecorder) -> Iterator[SpanRecorder]:
    """Every app of this process is instrumented, and its spans are recorded."""
    from obs_celery import instrument_celery, uninstrument_celery

    instrument_celery()
    yield spans
    uninstrument_celery()


@pytest.fixture
def worker(shared_worker: Worker, traced: SpanRecorder) -> Worker:
    """The shared worker, with this process's side traced as well."""
    return shared_worker


@pytest.fixture
def start_worker(
    redis_url: str, tmp_path: Path, otlp_sink: OtlpSink, traced: SpanRecorder
) -> StartWorker:
    """Start a worker for one test, on Redis."""
    return partial(running_worker, otlp_sink, redis_url, redis_url, tmp_path)
