"""Beside another instrumentation of Celery: contrib's on either end, before or after us, and sentry's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from obs_celery import instrument_celery
from obs_celery_worker import MODULE, StartWorker, Worker, root
from obs_core.testing import SpanRecorder
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor


@pytest.fixture
def contrib(monkeypatch: pytest.MonkeyPatch) -> Iterator[CeleryInstrumentor]:
    """Contrib's instrumentor, switched off in the end; nothing has been warned of yet."""
    monkeypatch.setattr("obs_core._safety.containment._warned", set())
    instrumentor = CeleryInstrumentor()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture
def app() -> Celery:
    """An app with one task."""
    app = Celery("both", broker="memory://localhost", set_as_current=False)

    @app.task(shared=False, name="both")
    def both() -> None:
        pass

    return app


def warnings(caplog: pytest.LogCaptureFixture) -> int:
    """How often two instrumentations were warned of."""
    return len(
        [
            record
            for record in caplog.records
            if "CeleryInstrumentor is active" in record.getMessage()
        ]
    )


@pytest.mark.promise("CEL-41")
def test_contrib_before_us(
    app: Celery,
    contrib: CeleryInstrumentor,
    spans: SpanRecorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One warning, and we stand back: the other one traces, until it is switched off."""
    contrib.instrument()
    handle = instrument_celery(app)
    app.tasks["both"].apply()
    assert [span.name for span in spans.finished] == ["run/both"]
    assert warnings(caplog) == 1
    contrib.uninstrument()
    spans.clear()
    app.tasks["both"].apply()
    handle.uninstrument()
    assert [span.name for span in spans.finished] == ["process both"]


@pytest.mark.promise("CEL-41")
@pytest.mark.parametrize("calls_before", [0, 1])
def test_contrib_after_us(
    app: Celery,
    contrib: CeleryInstrumentor,
    spans: SpanRecorder,
    caplog: pytest.LogCaptureFixture,
    calls_before: int,
) -> None:
    """Switched on before our first task or after it: one span a call, its own; switched off, ours again."""
    handle = instrument_celery(app)
    for _ in range(calls_before):
        app.tasks["both"].apply()
        app.send_task("both")
    spans.clear()
    contrib.instrument()
    for _ in range(2):
        app.tasks["both"].apply()
        app.send_task("both")
    assert (
        sorted(span.name for span in spans.finished)
        == ["apply_async/both"] * 2 + ["run/both"] * 2
    )
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert warnings(caplog) == 1
    contrib.uninstrument()
    spans.clear()
    app.tasks["both"].apply()
    assert [span.name for span in spans.finished] == ["process both"]
    handle.uninstrument()


@pytest.mark.promise("CEL-41")
def test_contrib_in_the_middle_of_a_task(
    app: Celery, contrib: CeleryInstrumentor, spans: SpanRecorder
) -> None:
    """Our span of that task ends as always, and its context with it."""

    @app.task(shared=False, name="switches")
    def switches() -> None:
        contrib.instrument()

    handle = instrument_celery(app)
    switches.apply()
    handle.uninstrument()
    assert [span.name for span in spans.finished] == ["process switches"]
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.mark.promise("CEL-04")
def test_a_message_that_contrib_has_published(
    shared_worker: Worker, contrib: CeleryInstrumentor, spans: SpanRecorder
) -> None:
    """Our worker executes it, and its retry, below contrib's span."""
    contrib.instrument()
    with root() as trace_id:
        shared_worker.send("retries", 1)
    received = shared_worker.spans(trace_id, 5)
    (published,) = [
        span for span in spans.finished if span.name.startswith("apply_async/")
    ]
    attempts = [span for span in received if span.kind == "CONSUMER"]
    assert [span.parent_id for span in attempts] == [published.context.span_id] * 2
    assert attempts[1].links == ((trace_id, attempts[0].span_id),)


@pytest.mark.promise("CEL-03", "CEL-12")
@pytest.mark.parametrize(
    "theirs",
    [
        {"sentry-trace": f"{7:032x}-{8:016x}-1", "baggage": "sentry-environment=test"},
        {
            "x-datadog-trace-id": "7",
            "traceparent": f"00-{7:032x}-{8:016x}-01",
            "tracestate": "dd=s:1",
        },
    ],
    ids=["sentry", "ddtrace"],
)
def test_retries_of_what_another_has_marked(
    worker: Worker, spans: SpanRecorder, theirs: dict[str, str]
) -> None:
    """They write inside the headers, and then Celery repeats theirs alone in a retry: ours go with it all the same."""
    with root() as trace_id:
        worker.send("retries", 2, headers={"headers": theirs})
    received = worker.spans(trace_id, 8)
    published = spans.one(f"publish {MODULE}.retries")
    attempts = [span for span in received if span.kind == "CONSUMER"]
    assert [span.parent_id for span in attempts] == [published.context.span_id] * 3
    assert [span.links for span in attempts[1:]] == [
        ((trace_id, span.span_id),) for span in attempts[:2]
    ]


@pytest.mark.soak
@pytest.mark.promise("CEL-03")
def test_sentry_beside_us(start_worker: StartWorker, tmp_path: Path) -> None:
    """Both see every task of a real worker, those published in it too; our trace is whole."""
    seen = tmp_path / "sentry"
    with start_worker(TEST_SENTRY=str(seen)) as worker:
        with root() as trace_id:
            worker.send("publishes")
        received = worker.spans(trace_id, 4)
        worker.stop()
    by_id = {span.span_id: span.name.replace(f"{MODULE}.", "") for span in received}
    below = {
        by_id[span.span_id]: by_id.get(span.parent_id, "elsewhere") for span in received
    }
    assert below == {
        "process publishes": "elsewhere",
        "publish ok": "process publishes",
        "process ok": "publish ok",
        "body": "process ok",
    }
    assert sorted(seen.read_text().split()) == [f"{MODULE}.ok", f"{MODULE}.publishes"]
