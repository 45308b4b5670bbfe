"""Chains, groups, chords and the rest of the canvas: one trace each, on a real prefork worker."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
from celery import chain, chord, group
from obs_celery import RELATION_HEADER
from obs_celery_worker import MODULE, StartWorker, Worker, as_sink_span, root, story
from obs_core.testing import SinkSpan, SpanRecorder
from opentelemetry import baggage, context


def consumers(spans: list[SinkSpan]) -> list[SinkSpan]:
    """The executions among `spans`."""
    return [span for span in spans if span.kind == "CONSUMER"]


@pytest.mark.promise("CEL-16")
def test_a_chain_is_one_trace(worker: Worker, spans: SpanRecorder) -> None:
    """Each link stands below the one before."""
    with root() as trace_id:
        chain(
            worker.signature("add", 1, 2),
            worker.signature("add", 3),
            worker.signature("add", 4),
        ).apply_async()
    assert (
        story(spans, worker.spans(trace_id, 5))
        == """\
root [INTERNAL]
  publish add [PRODUCER]
    process add [CONSUMER]
      publish add [PRODUCER]
        process add [CONSUMER]
          publish add [PRODUCER]
            process add [CONSUMER]"""
    )


@pytest.mark.promise("CEL-16", "CEL-30")
def test_a_chord_is_one_trace_joined_by_its_ids(
    worker: Worker, spans: SpanRecorder
) -> None:
    """Every header carries the group's id and the body's task id; the body stands below the header that completed it."""
    header = [
        worker.signature("add", 1, 2),
        worker.signature("retries", 1),
        worker.signature("add", 5, 6),
    ]
    with root() as trace_id:
        result = chord(header, app=worker.app)(worker.signature("total"))
    received = worker.spans(
        trace_id,
        lambda all_: (
            sorted("total" in span.name for span in consumers(all_))
            == [False] * 4 + [True]
        ),
    )
    headers = [span for span in consumers(received) if "total" not in span.name]
    (body,) = [span for span in consumers(received) if "total" in span.name]
    assert len(headers) == 4
    assert (
        {span.attributes["celery.chord.id"] for span in headers}
        == {result.id}
        == {body.attributes["celery.task.id"]}
    )
    assert len({span.attributes["celery.group.id"] for span in headers}) == 1
    published = [
        as_sink_span(span) for span in spans.finished if span.name.startswith("publish")
    ]
    assert {span.attributes["celery.chord.id"] for span in published} == {result.id}
    (publish,) = [span for span in received if span.span_id == body.parent_id]
    last = max(
        (span for span in headers if span.attributes["celery.state"] == "SUCCESS"),
        key=lambda span: span.end_time,
    )
    assert (publish.name, publish.parent_id) == (
        f"publish {MODULE}.total",
        last.span_id,
    )


@pytest.mark.promise("CEL-16")
def test_link_link_error_and_replace(worker: Worker) -> None:
    """Callbacks and a replacement stand below the task that caused them."""
    with root() as trace_id:
        worker.signature("add", 1, 2).apply_async(link=worker.signature("ok"))
        worker.signature("replaces", 2).apply_async()
        worker.signature("fails").apply_async(link_error=worker.signature("on_error"))
    received = worker.spans(trace_id, lambda spans: len(consumers(spans)) == 6)
    by_id = {span.span_id: span for span in received}
    caused = {
        (
            by_id[by_id[span.parent_id].parent_id].name.rpartition(".")[2],
            span.name.rpartition(".")[2],
        )
        for span in consumers(received)
        if span.parent_id in by_id
    }
    assert caused == {("add", "ok"), ("replaces", "add"), ("fails", "on_error")}
    assert [
        s.attributes["celery.state"]
        for s in consumers(received)
        if "replaces" in s.name
    ] == ["IGNORED"]


@pytest.mark.promise("CEL-16")
def test_map_starmap_and_chunks_name_the_inner_task(
    worker: Worker, spans: SpanRecorder
) -> None:
    """With the number of items."""
    add = worker.signature("add")
    with root() as trace_id:
        worker.app.signature(
            "celery.starmap",
            kwargs={"task": dict(add), "it": [(1, 2), (3, 4)]},
            immutable=True,
        ).apply_async()
        worker.app.signature(
            "celery.map", kwargs={"task": dict(worker.signature("ok")), "it": [1, 2, 3]}
        ).apply_async()
    found = consumers(worker.spans(trace_id, lambda spans: len(consumers(spans)) == 2))
    assert {
        (
            s.name,
            s.attributes["celery.inner_task.name"],
            s.attributes["celery.items.count"],
        )
        for s in found
    } == {
        ("process celery.starmap", f"{MODULE}.add", 2),
        ("process celery.map", f"{MODULE}.ok", 3),
    }


@pytest.mark.promise("CEL-14", "CEL-16", "CEL-17", "CEL-19")
def test_link_mode_exclusion_and_internal_tasks(
    start_worker: StartWorker, spans: SpanRecorder
) -> None:
    """A worker that links: baggage stays, canvas stays together, choices for a task or call win, hidden tasks pass through."""
    options = (
        "dict(relation='link', task_relations={'*.publishes': 'parent', '*.total': 'parent'}, exclude=['*.publishes'],"
        "capture_args=['key'], error_states=['REVOKED','EXPIRED','REJECTED'])"
    )
    with start_worker(TEST_OPTIONS=options) as worker:
        token = context.attach(baggage.set_baggage("tenant", "green"))
        with root() as trace_id:
            assert worker.send("baggage_of", "tenant").get(timeout=30) == "green"
            retried = worker.send("retries", 1)
            worker.send("add", 1, 2, headers={RELATION_HEADER: "parent"})
            worker.send("total", [1])
            worker.send("publishes")
            group(
                [worker.signature("ok"), worker.signature("ok")], app=worker.app
            ).apply_async()
            worker.send("rejects")
            worker.send("ok", countdown=0.1, expires=0.01)
        context.detach(token)
        received = worker.sink.wait_for(lambda spans: len(consumers(spans)) == 10)
        linked = [span for span in consumers(received) if span.parent_id == 0]
        mine = {span.context.span_id: span for span in spans.finished}
        assert sorted(span.name.rpartition(".")[2] for span in linked) == [
            "baggage_of",
            "ok",
            "ok",
            "rejects",
            "retries",
            "retries",
        ]
        assert all(
            link[0] == trace_id and (link[1] in mine or s.name.endswith("ok"))
            for s in linked
            for link in s.links[:1]
        )
        attempts = sorted(
            (s for s in linked if s.attributes["celery.task.id"] == retried.id),
            key=lambda s: s.start_time,
        )
        assert attempts[1].links[1] == (attempts[0].trace_id, attempts[0].span_id)
        together = [span for span in consumers(received) if span.trace_id == trace_id]
        assert sorted(span.name.rpartition(".")[2] for span in together) == [
            "add",
            "ok",
            "ok",
            "total",
        ]
        assert not [span for span in received if "publishes" in span.name]
        (captured,) = [span for span in linked if "baggage_of" in span.name]
        assert captured.attributes["celery.args.key"] == "tenant"
        assert {
            s.attributes["celery.state"] for s in linked if s.status == "ERROR"
        } == {
            "REJECTED",
            "REVOKED",
        }


@pytest.mark.promise("CEL-16", "CEL-17")
@pytest.mark.parametrize(
    "counted", [True, False], ids=["the backend counts", "chord_unlock polls"]
)
def test_a_chord_stays_together_where_tasks_link(
    start_worker: StartWorker, spans: SpanRecorder, tmp_path: Path, counted: bool
) -> None:
    """Its body too, whoever sends it: the header that completes it, or ``celery.chord_unlock``."""
    env = {} if counted else {"TEST_BACKEND": f"file://{tmp_path}"}
    with start_worker(TEST_OPTIONS="dict(relation='link')", **env) as worker:
        with root() as trace_id:
            header = [worker.signature("add", 1, 2), worker.signature("add", 3, 4)]
            chord(header, app=worker.app)(worker.signature("total"))
        received = worker.sink.wait_for(lambda spans: len(consumers(spans)) == 3)
        assert [(span.trace_id, span.links) for span in consumers(received)] == [
            (trace_id, ())
        ] * 3


@pytest.mark.promise("CEL-17")
@pytest.mark.parametrize("flags", [0, 1], ids=["unsampled", "sampled"])
def test_one_call_may_link(shared_worker: Worker, flags: int) -> None:
    """By its header, in a worker that links nothing; the producer's sampling is its own then."""
    trace_id = uuid.uuid4().int
    headers = {
        "traceparent": f"00-{trace_id:032x}-00000000000000ff-{flags:02x}",
        RELATION_HEADER: "link",
    }
    result = shared_worker.send("add", 1, 2, headers=headers)

    def mine(spans: Sequence[SinkSpan]) -> list[SinkSpan]:
        return [s for s in spans if s.attributes.get("celery.task.id") == result.id]

    (span,) = mine(shared_worker.sink.wait_for(lambda spans: bool(mine(spans))))
    assert (span.parent_id, span.links) == (0, ((trace_id, 0xFF),))
    assert span.trace_id != trace_id


@pytest.mark.promise("CEL-17")
def test_a_far_eta_links(start_worker: StartWorker) -> None:
    """Beyond the threshold a trace of its own, within it the producer's."""
    with start_worker(TEST_OPTIONS="dict(link_after_s=1)") as worker:
        with root() as trace_id:
            worker.send("add", 1, 2, countdown=0.5)
            worker.send("add", 3, 4, countdown=1.5)
        near, far = consumers(worker.sink.wait_for(2))
        assert (near.trace_id, near.links) == (trace_id, ())
        assert (far.parent_id, [link[0] for link in far.links]) == (0, [trace_id])
