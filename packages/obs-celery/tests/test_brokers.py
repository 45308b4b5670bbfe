"""Other brokers, message protocols and backends: the same story on each of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import VERSION, chord
from obs_celery._broker import Broker
from obs_celery._destination import Destinations
from obs_celery_worker import (
    StartWorker,
    Worker,
    delete_queue,
    root,
    running_worker,
    story,
)
from obs_core.testing import OtlpSink, SinkSpan, SpanRecorder

from tests.services import free_port, wait_for_port


def assert_whole_story(
    worker: Worker, spans: SpanRecorder, system: str, *attributes: str
) -> None:
    """A task that retries and one that is killed, on any broker."""
    with root() as trace_id:
        worker.send("retries", 1)
    received = worker.spans(trace_id, 5)
    assert (
        story(spans, received)
        == """\
root [INTERNAL]
  publish retries [PRODUCER]
    process retries [CONSUMER]
      body [INTERNAL]
      publish retries [PRODUCER]
    process retries [CONSUMER]
      body [INTERNAL]"""
    )
    for span in received:
        if span.kind == "CONSUMER":
            assert (
                span.attributes["messaging.system"],
                span.attributes["messaging.destination.name"],
            ) == (
                system,
                worker.queue,
            )
            assert set(attributes) <= span.attributes.keys()
    with root() as trace_id:
        worker.send("killed")
    (span,) = [span for span in worker.spans(trace_id, 2) if span.kind == "CONSUMER"]
    assert (span.status, span.attributes["error.type"]) == (
        "ERROR",
        "billiard.exceptions.WorkerLostError",
    )


@pytest.mark.services
@pytest.mark.promise("CEL-30", "CEL-13")
def test_rabbitmq(
    start_worker: StartWorker, spans: SpanRecorder, amqp_url: str
) -> None:
    """With the routing key and the server's address, never the credentials."""
    with start_worker(TEST_BROKER=amqp_url) as worker:
        assert_whole_story(
            worker,
            spans,
            "rabbitmq",
            "messaging.rabbitmq.destination.routing_key",
            "server.address",
            "server.port",
        )
        published = spans.finished[0].attributes or {}
        assert published["messaging.rabbitmq.destination.routing_key"] == worker.queue
        assert "guest" not in repr(worker.sink.spans) + repr(
            [span.attributes for span in spans.finished]
        )
        delete_queue(worker)


@pytest.fixture
def sqs_url() -> Iterator[str]:
    """Moto's SQS in a process of its own, as a broker URL."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_port(port, 60)
        yield f"sqs://key:secret@127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.mark.promise("CEL-30", "CEL-12", "CEL-13")
def test_sqs(start_worker: StartWorker, spans: SpanRecorder, sqs_url: str) -> None:
    """By its conventional name, and never with the keys."""
    conf = {
        "broker_transport_options": {
            "is_secure": False,
            "region": "us-east-1",
            "wait_time_seconds": 1,
            "polling_interval": 0.1,
        },
        "worker_enable_remote_control": False,
    }
    with start_worker(TEST_BROKER=sqs_url, TEST_CONF=repr(conf)) as worker:
        worker.app.conf.update(conf)
        assert_whole_story(worker, spans, "aws_sqs", "server.address", "server.port")
        assert "secret" not in repr(worker.sink.spans) + repr(
            [span.attributes for span in spans.finished]
        )


@pytest.mark.soak
@pytest.mark.promise("CEL-16")
def test_no_server_at_all(
    start_worker: StartWorker, spans: SpanRecorder, tmp_path: Path
) -> None:
    """Kombu's filesystem transport, whose chords need ``celery.chord_unlock``: hidden, with the context passing through."""
    folder = tmp_path / "broker"
    for name in ("q", "control", "results"):
        (folder / name).mkdir(parents=True)
    with start_worker(
        TEST_BROKER="filesystem://",
        TEST_BACKEND=f"file://{folder}/results",
        TEST_FOLDER=str(folder),
    ) as worker:
        assert_whole_story(worker, spans, "filesystem")
        with root() as trace_id:
            chord(
                [worker.signature("add", 1, 2), worker.signature("add", 3, 4)],
                app=worker.app,
            )(worker.signature("total"))
        received = worker.spans(
            trace_id,
            lambda spans: len([span for span in spans if "total" in span.name]) == 2,
        )
        assert not [span for span in [*received] if "unlock" in span.name]
        (body,) = [
            span
            for span in received
            if span.name.startswith("publish") and "total" in span.name
        ]
        assert body.parent_id in {span.context.span_id for span in spans.finished}
    shutil.rmtree(folder)


@pytest.mark.promise("CEL-03", "CEL-10")
def test_protocol_1(start_worker: StartWorker, spans: SpanRecorder) -> None:
    """Its headers stand inside the body's request; retries and kills are told all the same."""
    with start_worker(TEST_PROTOCOL="1") as worker:
        assert_whole_story(worker, spans, "redis")


def test_the_broker_is_described_without_connecting() -> None:
    """By kombu's driver, from the configuration alone; credentials stay out."""
    from celery import Celery
    from kombu import Exchange
    from obs_celery._broker import describe_broker

    def of(url: str) -> Broker:
        return describe_broker(Celery("app", broker=url, set_as_current=False))

    assert of("amqp://user:secret@rabbit.example:5673/v") == Broker(
        "rabbitmq", "rabbit.example", 5673, Destinations((("celery", "celery"),))
    )
    assert of("redis://:secret@cache.example/1") == Broker(
        "redis", "cache.example", 6379
    )
    assert of("memory://host") == Broker("memory")
    assert "secret" not in repr(of("amqp://user:secret@rabbit.example//").attributes())
    place = Destinations().place
    assert (place("", "q"), place(Exchange("x"), "q"), place(None, None)) == (
        ("q", "q"),
        ("x", "q"),
        (None, None),
    )


@pytest.mark.promise("CEL-47")
@pytest.mark.parametrize(
    "exchange", ["celery_delayed_27", "us_celery_delayed_delivery", "celery_delayed_0"]
)
def test_native_delayed_delivery_keeps_the_users_place(exchange: str) -> None:
    """The queue's exchange and routing key, wherever in Celery's machinery the message is, and however often delayed."""
    topics = (
        ("orders.new", "shop"),
        ("reports.*", "back-office"),
        ("audit.#", "audits"),
    )
    destinations = Destinations(topics)
    delay = "0." * 26 + "1.0."
    assert destinations.place(exchange, f"{delay}orders.new") == ("shop", "orders.new")
    assert destinations.place(exchange, f"{delay}{delay}orders.new") == (
        "shop",
        "orders.new",
    )
    assert destinations.place(exchange, f"{delay}reports.may") == (
        "back-office",
        "reports.may",
    )
    for key in ("audit", "audit.login.failed"):
        assert destinations.place(exchange, f"{delay}{key}") == ("audits", key)
    assert destinations.place(exchange, f"{delay}other") == ("other", "other")
    assert destinations.place("shop", f"{delay}orders.new") == (
        "shop",
        f"{delay}orders.new",
    )


@pytest.mark.promise("CEL-47")
@pytest.mark.skipif(
    VERSION < (5, 5), reason="native delayed delivery came with Celery 5.5"
)
@pytest.mark.services
def test_a_delayed_task_on_a_quorum_queue_has_one_place_on_both_sides(
    amqp_url: str, tmp_path: Path, otlp_sink: OtlpSink, traced: SpanRecorder
) -> None:
    """Of a real quorum queue on RabbitMQ: with and without countdown, by a topic, retried, revoked in its delay."""
    name = f"obs-quorum-{uuid.uuid4().hex[:8]}"
    conf = (
        f"dict(task_queues=[__import__('kombu').Queue({name!r}, __import__('kombu').Exchange('{name}-x', type='topic'),"
        f" routing_key='{name}.*', queue_arguments={{'x-queue-type': 'quorum'}})], task_default_queue={name!r},"
        f" task_default_exchange='{name}-x', task_default_exchange_type='topic', task_default_routing_key='{name}.*',"
        " task_default_queue_type='quorum', worker_detect_quorum_queues=True,"
        f" task_routes={{'obs_celery_app.add': dict(exchange='{name}-x', exchange_type='topic', routing_key='{name}.add')}})"
    )
    with running_worker(otlp_sink, amqp_url, "", tmp_path, TEST_CONF=conf) as worker:
        worker.app.conf.update(eval(conf))
        with root() as trace_id:
            worker.send("ok")
            worker.send("ok", countdown=1)
            worker.send("add", 1, 1, countdown=1)
            worker.send("retries", 2, False, 1)
            revoked = worker.send("ok", countdown=3)
            worker.app.control.revoke(revoked.id)
        received = worker.spans(trace_id, lambda found: len(executed(found)) >= 7)
        with worker.app.connection_for_write() as connection:
            worker.app.amqp.queues[name](connection.default_channel).delete()
    sides = [
        (span.name, span.attributes) for span in received if span.kind != "INTERNAL"
    ]
    sides += [
        (span.name, span.attributes or {})
        for span in traced.finished
        if span.kind.name == "PRODUCER"
    ]
    keys = {}
    for title, attributes in sides:
        assert attributes["messaging.destination.name"] == f"{name}-x", title
        key = attributes["messaging.rabbitmq.destination.routing_key"]
        keys.setdefault(attributes["celery.task.id"], []).append(key)
    # the publishes and executions of each task; the retried one has three
    assert sorted(len(of_task) for of_task in keys.values()) == [2, 2, 2, 2, 6]
    assert {frozenset(of_task) for of_task in keys.values()} == {
        frozenset({f"{name}.*"}),
        frozenset({f"{name}.add"}),
    }


def executed(spans: list[SinkSpan]) -> list[SinkSpan]:
    """The executions among `spans`."""
    return [span for span in spans if span.kind == "CONSUMER"]
