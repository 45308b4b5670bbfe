"""A task that fails is kept with all of its own part; what is sent by a kept one is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from celery import chain
from obs_celery import instrument_celery, uninstrument_celery
from obs_celery_worker import Worker, running_worker
from obs_core import Keep, keep_trace
from obs_core.testing import OtlpSink, SinkSpan, SpanRecorder, record_spans
from opentelemetry import trace

pytestmark = pytest.mark.promise("CORE-91")
tracer = trace.get_tracer("test")
KEEPING = {"OTEL_TRACES_SAMPLER": "always_off", "OBS_CORE_KEEP": "true"}


@pytest.fixture(scope="module")
def sink() -> Iterator[OtlpSink]:
    """The receiver of the worker."""
    with OtlpSink() as sink:
        yield sink


@pytest.fixture(scope="module")
def worker(
    redis_url: str, sink: OtlpSink, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    """A prefork worker that samples nothing and keeps what fails."""
    folder = tmp_path_factory.mktemp("worker")
    with running_worker(sink, redis_url, redis_url, folder, **KEEPING) as worker:
        yield worker


@pytest.fixture
def spans(sink: OtlpSink) -> Iterator[SpanRecorder]:
    """The publisher's spans."""
    with record_spans(sampling_rate=0.0, keep=Keep()) as recorder:
        instrument_celery()
        yield recorder
        uninstrument_celery()


def send(task: Any, **options: Any) -> int:
    """Send a task in a request that is well; return the trace id."""
    with tracer.start_as_current_span("request") as span:
        task.apply_async(**options)
    return span.get_span_context().trace_id


def of_trace(worker: Worker, trace_id: int, *wanted: str) -> list[str]:
    """Wait for these spans of the trace; return the names of all spans of the trace, with the reason of each."""

    def have_all(spans: list[SinkSpan]) -> bool:
        return not Counter(wanted) - Counter(map(short, spans))

    found = worker.spans(trace_id, have_all, timeout_s=20)
    return [f"{short(span)} {span.attributes['obs.kept']}" for span in found]


def short(span: SinkSpan) -> str:
    """The span's name, with the task's name alone."""
    return span.name.replace("obs_celery_app.", "")


def test_a_failing_task_is_kept_with_its_part(
    worker: Worker, spans: SpanRecorder
) -> None:
    """A well one leaves nothing. The publisher has long finished: its part cannot be brought back."""
    well = send(worker.signature("ok"))
    failing = send(worker.signature("fails"))
    assert of_trace(worker, failing, "process fails") == ["process fails error"]
    assert [span for span in worker.sink.spans if span.trace_id == well] == []
    assert spans.finished == []


def test_a_publisher_that_is_kept_tells_its_tasks(
    worker: Worker, spans: SpanRecorder
) -> None:
    """From the decision on, through the broker."""
    with tracer.start_as_current_span("request") as span:
        keep_trace()
        worker.send("ok")
    trace_id = span.get_span_context().trace_id
    found = of_trace(worker, trace_id, "process ok", "body")
    assert found == ["process ok asked", "body asked"]
    assert len(spans) == 2


def test_the_retries_of_a_kept_attempt_are_told(
    worker: Worker, spans: SpanRecorder
) -> None:
    """The first attempt has an error in a part, the second is well; the retry repeats the first one's headers."""
    trace_id = send(worker.signature("mends"))
    parts = ("process mends", "part", "publish mends", "process mends", "body")
    assert of_trace(worker, trace_id, *parts) == [
        "process mends error",
        "part error",
        "publish mends error",
        "process mends error",
        "body error",
    ]


def test_error_callbacks_are_told(worker: Worker, spans: SpanRecorder) -> None:
    """They are sent before the failing task's own span has ended."""
    trace_id = send(worker.signature("fails"), link_error=worker.signature("on_error"))
    parts = ("process fails", "publish on_error", "process on_error")
    assert of_trace(worker, trace_id, *parts) == [
        "process fails error",
        "publish on_error error",
        "process on_error error",
    ]


def test_later_tasks_of_a_kept_one_are_told(
    worker: Worker, spans: SpanRecorder
) -> None:
    """The rest of a chain."""
    rest = worker.signature("ok").set(immutable=True)
    trace_id = send(chain(worker.signature("keeps"), rest))
    parts = ("process keeps", "publish ok", "process ok", "body")
    assert of_trace(worker, trace_id, *parts) == [
        "process keeps asked",
        "publish ok asked",
        "process ok asked",
        "body asked",
    ]


def test_what_a_task_declares_as_expected_is_no_error(
    worker: Worker, spans: SpanRecorder
) -> None:
    """Neither is a retry, an ignored or a rejected message."""
    for name in ("throws", "ignores"):
        send(worker.signature(name), link_error=worker.signature("on_error"))
    failing = send(worker.signature("fails"))
    of_trace(worker, failing, "process fails")
    names = set(map(short, worker.sink.spans))
    assert names.isdisjoint({"process throws", "process ignores"})


def test_a_task_whose_child_is_killed_is_kept(
    worker: Worker, spans: SpanRecorder
) -> None:
    """By the main process; what the child held is lost with it."""
    trace_id = send(worker.signature("killed", 0))
    assert of_trace(worker, trace_id, "process killed") == ["process killed error"]


def test_an_eager_task_is_a_part_of_its_request(
    worker: Worker, spans: SpanRecorder
) -> None:
    """And fails with it."""
    from obs_celery_app import fails, ok

    for task in (ok, fails):
        with tracer.start_as_current_span(task.name):
            task.apply()
    assert [span.name for span in spans][-1] == "obs_celery_app.fails"
    assert all((span.attributes or {}).get("obs.kept") for span in spans)
    assert not any(span.name.endswith("ok") for span in spans)
