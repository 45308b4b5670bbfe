"""The producer: the span around the real publish, and what it leaves in the message."""

from __future__ import annotations

import gc
import threading
import uuid
import weakref

import pytest
from celery import Celery
from kombu.exceptions import EncodeError, OperationalError
from obs_celery import instrument_celery, uninstrument_celery
from obs_celery._publish import _publishing
from obs_celery_worker import root
from obs_core.testing import SpanRecorder
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON


@pytest.fixture
def app() -> Celery:
    """An app on an in-memory broker."""
    app = Celery("unit", broker="memory://localhost", set_as_current=False)
    app.conf.task_publish_retry = False
    app.conf.task_default_queue = uuid.uuid4().hex
    return app


def received(app: Celery, queue: str | None = None) -> dict[str, object]:
    """The headers of the next message in `queue`."""
    queue = queue or app.conf.task_default_queue
    with (
        app.connection_for_read() as connection,
        connection.SimpleQueue(app.amqp.queues[queue]) as simple,
    ):
        message = simple.get(timeout=2)
        message.ack()
        return {**message.headers}


@pytest.fixture(autouse=True)
def nothing_stays_current(traced: SpanRecorder) -> object:
    """No test may leave a span or a publication current."""
    before = trace.get_current_span()
    yield
    assert trace.get_current_span() is before
    assert _publishing.get() is None


@pytest.mark.promise("CEL-01", "CEL-30")
def test_send_task_of_an_unregistered_task(app: Celery, spans: SpanRecorder) -> None:
    """The whole span; its context is what the message carries."""
    with root() as trace_id:
        before = trace.get_current_span()
        result = app.send_task("elsewhere.work", queue="mail")
        assert trace.get_current_span() is before
    headers = received(app, "mail")
    span = spans.assert_span(
        "publish elsewhere.work",
        kind="PRODUCER",
        parent="root",
        attributes={
            "messaging.system": "memory",
            "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
            "messaging.destination.name": "mail",
            "messaging.message.id": result.id,
            "celery.task.name": "elsewhere.work",
            "celery.task.id": result.id,
            "celery.root_id": result.id,
            "celery.retries": 0,
        },
    )
    assert str(headers["traceparent"]).startswith(
        f"00-{trace_id:032x}-{span.context.span_id:016x}"
    )


@pytest.mark.promise("CEL-02")
def test_a_broker_that_is_down(spans: SpanRecorder) -> None:
    """The span of the failing publish ends with the error, which reaches the caller unchanged."""
    app = Celery("down", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.task_publish_retry = False
    with root(), pytest.raises(OperationalError) as failure:
        app.send_task("work")
    span = spans.one("publish work")
    assert span.status.status_code is trace.StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "kombu.exceptions.OperationalError"
    assert (span.attributes or {})["server.port"] == 1
    assert [event.name for event in span.events] == ["exception"]
    assert str(failure.value) == span.status.description


@pytest.mark.promise("CEL-02")
def test_a_result_backend_that_is_down(spans: SpanRecorder) -> None:
    """The commonest outage, Redis as broker and backend, fails before Celery's own signals fire."""
    app = Celery(
        "down",
        broker="memory://",
        backend="redis://127.0.0.1:1/0",
        set_as_current=False,
    )
    app.conf.result_backend_transport_options = {"retry_policy": {"max_retries": 0}}
    with root(), pytest.raises(Exception, match=r"result store|refused"):
        app.send_task("work")
    assert spans.one("publish work").status.status_code is trace.StatusCode.ERROR


@pytest.mark.promise("CEL-02")
def test_arguments_that_cannot_be_serialized(app: Celery, spans: SpanRecorder) -> None:
    """An EncodeError is the publish's, too; the failed call keeps nothing alive."""

    class Payload:
        lock = threading.Lock()

    payload = Payload()
    alive = weakref.ref(payload)
    with root(), pytest.raises(EncodeError):
        app.send_task("work", args=[payload])
    assert (spans.one("publish work").attributes or {})[
        "error.type"
    ] == "kombu.exceptions.EncodeError"
    spans.clear()
    del payload
    gc.collect()
    assert alive() is None


@pytest.mark.promise("CEL-03")
def test_headers_carry_context_and_baggage_beside_the_users(app: Celery) -> None:
    """W3C trace context and baggage by the global propagator; the user's own headers are as they were."""
    token = context.attach(baggage.set_baggage("tenant", "blue"))
    mine = {"x-mine": 1}
    with root():
        app.send_task("work", headers=mine)
    context.detach(token)
    headers = received(app)
    assert (headers["baggage"], headers["x-mine"], mine) == (
        "tenant=blue",
        1,
        {"x-mine": 1},
    )


@pytest.mark.promise("CEL-04")
def test_an_unsampled_parent_makes_no_span(app: Celery, spans: SpanRecorder) -> None:
    """The context goes on, undecided by us."""
    parent = trace.SpanContext(7, 8, True, trace.TraceFlags(0))
    with trace.use_span(trace.NonRecordingSpan(parent)):
        app.send_task("work")
    assert str(received(app)["traceparent"]) == f"00-{7:032x}-{8:016x}-00"
    assert spans.finished == []


@pytest.mark.promise("CEL-04")
def test_a_suppressed_publish_passes_the_context_through(
    app: Celery, spans: SpanRecorder
) -> None:
    """``suppress_instrumentation()``: no span of ours, and the task belongs to the caller's trace all the same."""
    with root(), suppress_instrumentation():
        app.send_task("work")
    (caller,) = spans.finished
    assert f"{caller.context.span_id:016x}" in str(received(app)["traceparent"])


@pytest.mark.promise("CEL-04")
def test_a_sampler_that_does_not_follow_the_parent_is_asked(app: Celery) -> None:
    """Below an unsampled parent it may sample the publish, and then the task is below that."""
    provider, exporter = TracerProvider(sampler=ALWAYS_ON), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    handle = instrument_celery(app, tracer_provider=provider)
    parent = trace.SpanContext(7, 8, True, trace.TraceFlags(0))
    with trace.use_span(trace.NonRecordingSpan(parent)):
        app.send_task("work")
    handle.uninstrument()
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.context.trace_id) == ("publish work", 7)
    prefix, _, flags = str(received(app)["traceparent"]).rpartition("-")
    assert (prefix, int(flags, 16) & 1) == (
        f"00-{7:032x}-{span.context.span_id:016x}",
        1,
    )


@pytest.mark.promise("CEL-19")
def test_excluded_tasks_pass_the_context_through(
    app: Celery, spans: SpanRecorder
) -> None:
    """By name or glob."""
    uninstrument_celery()
    instrument_celery(exclude=["noise.*"])
    with trace.get_tracer("tests").start_as_current_span("root") as span:
        app.send_task("noise.ping")
    assert f"{span.get_span_context().span_id:016x}" in str(
        received(app)["traceparent"]
    )
    assert [span.name for span in spans.finished] == ["root"]


@pytest.mark.promise("CEL-16")
@pytest.mark.parametrize(
    "name", ["celery.chord_unlock", "celery.accumulate", "celery.backend_cleanup"]
)
def test_celerys_own_tasks_are_hidden_unless_asked_for(
    app: Celery, spans: SpanRecorder, name: str
) -> None:
    """The context passes through them."""
    with trace.get_tracer("tests").start_as_current_span("root") as span:
        app.send_task(name)
    assert f"{span.get_span_context().span_id:016x}" in str(
        received(app)["traceparent"]
    )
    assert [span.name for span in spans.finished] == ["root"]
    uninstrument_celery()
    instrument_celery(include_internal=True)
    app.send_task(name)
    assert [span.name for span in spans.finished] == ["root", f"publish {name}"]


@pytest.mark.promise("CEL-34")
def test_a_raising_hook_and_propagator_change_nothing(
    app: Celery,
    spans: SpanRecorder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    """They are logged; the message goes out."""
    uninstrument_celery()
    instrument_celery(on_publish=lambda span, name, headers: 1 / 0)  # type: ignore[arg-type,return-value]
    broken = CompositePropagator([])
    monkeypatch.setattr(broken, "inject", lambda *_, **__: 1 / 0)
    before = propagate.get_global_textmap()
    request.addfinalizer(lambda: propagate.set_global_textmap(before))
    propagate.set_global_textmap(broken)
    app.send_task("work")
    assert received(app)["task"] == "work"
    assert spans.one("publish work").status.status_code is trace.StatusCode.UNSET
    assert {"on_publish", "propagator"} <= {
        record.getMessage().split()[0] for record in caplog.records
    }


@pytest.mark.promise("CEL-34")
def test_the_on_publish_sees_span_name_and_headers(
    app: Celery, spans: SpanRecorder
) -> None:
    """And may add to both."""

    def hook(span: trace.Span, name: str, headers: dict[str, object]) -> None:
        span.set_attribute("mine", name)
        headers["x-hook"] = "was here"

    uninstrument_celery()
    instrument_celery(on_publish=hook)  # type: ignore[arg-type]
    app.send_task("work")
    assert received(app)["x-hook"] == "was here"
    assert (spans.one("publish work").attributes or {})["mine"] == "work"


@pytest.mark.promise("CEL-01")
def test_protocol_1_carries_context(app: Celery, spans: SpanRecorder) -> None:
    """In the message's headers, where protocol 1 keeps nothing else."""
    app.conf.task_protocol = 1
    with root() as trace_id:
        result = app.send_task("work")
    assert f"{trace_id:032x}" in str(received(app)["traceparent"])
    assert (spans.one("publish work").attributes or {})["celery.task.id"] == result.id
