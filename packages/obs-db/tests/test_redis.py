"""`instrument_redis`: one span a command or pipeline, on every kind of client."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from obs_core.exceptions import ConfigurationError
from obs_core.integration import mark_worker_process
from obs_core.testing import SpanRecorder
from obs_db import instrument_redis, uninstrument_redis
from opentelemetry import context, trace
from opentelemetry.trace import StatusCode
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import RedisCluster

tracer = trace.get_tracer("test")


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        yield client


def told(spans: SpanRecorder, name: str) -> dict[str, Any]:
    return dict(spans.one(name).attributes or {})


@pytest.mark.promise("DB-20", "DB-21")
def test_one_command_is_one_span(
    client: Any, traced: None, spans: SpanRecorder
) -> None:
    """A command gives one CLIENT span with the server's address and no argument."""
    with tracer.start_as_current_span("request"):
        client.set("key", "sesame")

    assert len(spans) == 2
    spans.assert_span(
        "SET",
        kind="CLIENT",
        parent="request",
        attributes={
            "db.system.name": "redis",
            "db.namespace": "0",
            "db.operation.name": "SET",
            "db.query.text": "SET ? ?",
            "server.address": "127.0.0.1",
            "server.port": client.connection_pool.connection_kwargs["port"],
        },
    )


@pytest.mark.promise("DB-20")
def test_existing_and_future_clients(
    client: Any, redis_url: str, spans: SpanRecorder
) -> None:
    """Clients and pipelines made before and after are covered, and no longer once it is taken back."""
    pipeline = client.pipeline().get("a").get("b")
    instrument_redis()
    client.get("a")
    pipeline.execute()
    with redis.Redis.from_url(redis_url) as late:
        late.get("a")
    uninstrument_redis()
    client.get("a")

    assert [span.name for span in spans] == ["GET", "PIPELINE", "GET"]


@pytest.mark.promise("DB-20")
def test_one_client_alone(client: Any, redis_url: str, spans: SpanRecorder) -> None:
    """`instrument_redis(client)` covers that client and its pipelines, under its name, and no other."""
    handle = instrument_redis(client, service_name="cache")
    assert instrument_redis(client) is handle
    other: Any = redis.Redis.from_url(redis_url)
    other.get("a")
    other.pipeline().get("a").execute()
    other.close()
    client.get("a")
    client.pipeline().get("a").execute()
    handle.uninstrument()
    client.get("a")

    assert [
        (span.name, (span.attributes or {}).get("service.peer.name")) for span in spans
    ] == [
        ("GET", "cache"),
        ("PIPELINE", "cache"),
    ]


@pytest.mark.promise("DB-20")
def test_asyncio(redis_url: str, traced: None, spans: SpanRecorder) -> None:
    """Asyncio's commands and pipelines are told alike; a cancelled one is marked so, and closed."""

    async def main() -> None:
        client: Any = redis.asyncio.Redis.from_url(redis_url)
        async with client:
            with tracer.start_as_current_span("request"):
                await client.set("x", "y")
                async with client.pipeline() as pipeline:
                    await pipeline.set("x", "y").get("x").execute()
                task = asyncio.create_task(client.blpop(["nothing"], 0))
                await asyncio.sleep(0.2)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    asyncio.run(main())

    spans.assert_tree(
        """
        request [INTERNAL]
          SET [CLIENT] db.query.text='SET ? ?'
          PIPELINE [CLIENT] db.query.text='SET ? ?\\nGET ?'
          BLPOP [CLIENT] db.query.text='BLPOP ? ?' obs.cancelled=True
        """,
        attributes=["db.query.text", "obs.cancelled"],
    )


@pytest.mark.promise("DB-20")
def test_cluster(cluster_port: int, spans: SpanRecorder) -> None:
    """A cluster's commands and pipelines have server attributes, one client or all, on a cluster of three nodes."""
    cluster: Any
    other: Any
    cluster, other = (
        RedisCluster(host="127.0.0.1", port=cluster_port) for _ in range(2)
    )
    handle = instrument_redis(cluster)
    other.set("a", 1)
    cluster.set("a", 1)
    pipeline = cluster.pipeline()
    for number in range(30):
        pipeline.set(f"key-{number}", "sesame")
    pipeline.execute()
    handle.uninstrument()
    with instrument_all():
        other.get("a")
        other.pipeline().get("a").get("b").execute()
    cluster.close()
    other.close()

    where = ["server.address", "server.port", "db.operation.batch.size"]
    server = {(span.attributes or {})["server.port"] for span in spans}
    assert all(isinstance(port, int) for port in server)
    assert [
        (span.name, [(span.attributes or {}).get(key) is not None for key in where])
        for span in spans
    ] == [
        ("SET", [True, True, False]),
        ("PIPELINE", [True, True, True]),
        ("GET", [True, True, False]),
        ("PIPELINE", [True, True, True]),
    ]
    assert "sesame" not in "".join(span.to_json() for span in spans)


@pytest.mark.promise("DB-20")
def test_async_cluster(cluster_port: int, spans: SpanRecorder) -> None:
    """The same in asyncio."""

    async def main() -> None:
        cluster: Any
        other: Any
        cluster, other = (
            AsyncRedisCluster(host="127.0.0.1", port=cluster_port) for _ in range(2)
        )
        handle = instrument_redis(cluster)
        async with cluster, other:
            for each in (other, cluster):
                await each.set("a", "sesame")
                async with each.pipeline() as pipeline:
                    await pipeline.set("a", "sesame").get("b").execute()
            handle.uninstrument()
            await cluster.set("a", 1)

    asyncio.run(main())

    assert [
        (span.name, (span.attributes or {})["server.address"]) for span in spans
    ] == [
        ("SET", "127.0.0.1"),
        ("PIPELINE", "127.0.0.1"),
    ]
    assert told(spans, "PIPELINE")["db.operation.batch.size"] == 2
    assert "sesame" not in "".join(span.to_json() for span in spans)


class instrument_all:
    """All clients traced, for a block."""

    def __enter__(self) -> None:
        instrument_redis()

    def __exit__(self, *_: object) -> None:
        uninstrument_redis()


@pytest.mark.promise("DB-21")
@pytest.mark.parametrize("size", [300, 10_000])
def test_pipeline_of_any_size(
    size: int, client: Any, traced: None, spans: SpanRecorder
) -> None:
    """A pipeline's name does not grow with it, its text ends at 2 KiB, and its size is told."""
    pipeline = client.pipeline(transaction=False)
    for number in range(size):
        pipeline.set(f"sesame-{number}", "sesame")
    pipeline.execute()
    pipeline.execute()

    (span,) = spans.finished
    attributes = told(spans, "PIPELINE")
    assert attributes["db.operation.batch.size"] == size
    assert attributes["db.operation.name"] == "PIPELINE"
    assert 2_000 < len(str(attributes["db.query.text"]).encode()) <= 2_048
    assert "sesame" not in span.to_json()


@pytest.mark.promise("DB-21")
def test_errors_quote_no_argument(
    client: Any, traced: None, spans: SpanRecorder
) -> None:
    """Of an error the type and the server's code are told; the message, which quotes arguments, is not."""
    client.set("text", "x")
    with pytest.raises(redis.ResponseError):
        client.lpush("text", "sesame")
    with pytest.raises(redis.ResponseError, match="sesame"):
        client.execute_command("NOSUCH", "sesame")
    with pytest.raises(redis.ResponseError, match="sesame"):
        client.pipeline().set("a", "b").lpush("text", "sesame").execute()

    errors = [
        (span.name, span.status.description, span.events)
        for span in spans
        if not span.status.is_ok
    ]
    assert errors == [
        ("LPUSH", "ResponseError (WRONGTYPE)", ()),
        ("NOSUCH", "ResponseError (ERR)", ()),
        ("PIPELINE", "ResponseError", ()),
    ]
    assert told(spans, "LPUSH")["error.type"] == "redis.exceptions.ResponseError"
    assert "sesame" not in "".join(span.to_json() for span in spans)


@pytest.mark.promise("DB-21")
def test_no_server(traced: None, spans: SpanRecorder) -> None:
    """Where nothing answers, the span says so and the error is redis-py's own."""
    with redis.Redis(port=1) as client, pytest.raises(redis.ConnectionError):
        client.ping()

    (span,) = spans.finished
    assert (span.name, span.status.description) == ("PING", "ConnectionError")


@pytest.mark.promise("DB-22")
def test_a_script_cache_miss_is_no_error(
    client: Any, traced: None, spans: SpanRecorder
) -> None:
    """redis-py's way of running a script, EVALSHA first, leaves no failed span."""
    client.script_flush()
    spans.clear()
    client.register_script(f"return redis.call('GET', KEYS[1]) -- {time.time_ns()}")(
        keys=["a"]
    )

    assert [(span.name, span.status.status_code) for span in spans] == [
        ("EVALSHA", StatusCode.UNSET),
        ("SCRIPT LOAD", StatusCode.UNSET),
        ("EVALSHA", StatusCode.UNSET),
    ]
    first = spans.finished[0].attributes or {}
    assert first["db.response.status_code"] == "NOSCRIPT"
    assert "error.type" not in first


@pytest.mark.promise("DB-22")
def test_a_watch_error_is_no_error(
    client: Any, traced: None, spans: SpanRecorder
) -> None:
    """A watched key that changed makes redis-py raise, and no span fail."""
    with client.pipeline() as pipeline:
        pipeline.watch("a")
        pipeline.multi()
        client.set("a", "other")
        pipeline.set("a", "mine")
        with pytest.raises(redis.WatchError):
            pipeline.execute()

    assert [(span.name, span.status.status_code) for span in spans] == [
        ("WATCH", StatusCode.UNSET),
        ("SET", StatusCode.UNSET),
        ("PIPELINE", StatusCode.UNSET),
    ]


@pytest.mark.promise("DB-23")
@pytest.mark.parametrize(("roots", "worker", "expected"), [
    ("auto", False, 1), ("auto", True, 0), (True, True, 1), (False, False, 0),
])  # fmt: skip
def test_roots(
    roots: Any, worker: bool, expected: int, client: Any, spans: SpanRecorder
) -> None:
    """Whether a command without a parent has a span is decided by `roots`, at each command; with a parent it always has."""
    instrument_redis(roots=roots)
    if worker:
        mark_worker_process()
    try:
        client.get("a")
        with tracer.start_as_current_span("task"):
            client.get("a")
    finally:
        if worker:
            mark_worker_process(False)

    assert (
        len([span for span in spans if span.parent is None and span.name == "GET"])
        == expected
    )
    assert len([span for span in spans if span.parent is not None]) == 1


def test_suppressed(client: Any, traced: None, spans: SpanRecorder) -> None:
    """OpenTelemetry's own wish for silence is heard."""
    token = context.attach(context.set_value("suppress_instrumentation", True))
    client.get("a")
    context.detach(token)

    assert not spans.finished


def test_a_failing_instrumentation_is_not_felt(
    client: Any,
    traced: None,
    spans: SpanRecorder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever breaks in us, the command runs."""
    monkeypatch.setattr("obs_db.redis._patches.describe_command", None)

    with caplog.at_level(logging.ERROR):
        assert client.set("a", 1) is True

    assert not spans.finished


def _multidb_clients() -> list[type]:
    try:
        from redis.asyncio.multidb.client import MultiDBClient as AsyncMultiDBClient
        from redis.multidb.client import MultiDBClient
    except ImportError:
        return []
    return [MultiDBClient, AsyncMultiDBClient]


def test_uninstrument_restores_the_methods(spans: SpanRecorder) -> None:
    """The classes have their own methods again, the same objects."""
    classes = [
        redis.cluster.NodesManager,
        *_multidb_clients(),
        redis.Redis,
        redis.client.Pipeline,
        RedisCluster,
        redis.asyncio.Redis,
        AsyncRedisCluster,
    ]
    before = [dict(vars(cls)) for cls in classes]
    handle = instrument_redis()
    assert [dict(vars(cls)) for cls in classes] != before

    handle.uninstrument()

    assert [dict(vars(cls)) for cls in classes] == before


@pytest.mark.parametrize(
    ("options", "said"), [({"client": 5}, "client=5"), ({"roots": None}, "roots=None")]
)
def test_bad_options(options: dict[str, Any], said: str) -> None:
    """What a programmer writes wrong raises at set-up, and says the value and the fix."""
    with pytest.raises(ConfigurationError, match=said):
        instrument_redis(**options)


def test_contrib_beside_us(
    client: Any,
    spans: SpanRecorder,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where contrib instruments Redis already, we warn once and do not double its spans."""
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    monkeypatch.setattr("obs_core._safety.containment._warned", set())
    RedisInstrumentor().instrument()
    try:
        instrument_redis()
        client.get("a")
    finally:
        RedisInstrumentor().uninstrument()

    assert len(spans) == 1
    assert (
        len(
            [
                record
                for record in caplog.records
                if "not instrumenting twice" in record.message
            ]
        )
        == 1
    )


@pytest.mark.promise("DB-20")
def test_contrib_after_us(
    client: Any,
    spans: SpanRecorder,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Switched on after us, contrib has the commands, with one warning; it and we can go in any order, and nothing doubles."""
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    monkeypatch.setattr("obs_core._safety.containment._warned", set())
    plain = vars(redis.Redis)["execute_command"]
    handle = instrument_redis()
    RedisInstrumentor().instrument()
    try:
        client.get("a")
        client.pipeline().get("a").execute()
        assert [
            span.instrumentation_scope.name
            for span in spans
            if span.instrumentation_scope
        ] == ["opentelemetry.instrumentation.redis"] * 2
        handle.uninstrument()
        client.get("a")
        assert len(spans) == 3
    finally:
        RedisInstrumentor().uninstrument()
    client.get("a")
    assert len(spans) == 3
    handle = instrument_redis()
    client.get("a")
    assert len(spans) == 4
    handle.uninstrument()
    assert vars(redis.Redis)["execute_command"] is plain
    assert (
        len(
            [
                record
                for record in caplog.records
                if "not instrumenting twice" in record.message
            ]
        )
        == 1
    )
