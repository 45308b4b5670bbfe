"""Hooks of `instrument_redis`: what they are given, by every way in, and that none is felt."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from obs_core.exceptions import ConfigurationError
from obs_core.testing import SpanRecorder
from obs_db import instrument_redis
from opentelemetry import trace
from opentelemetry.trace import Span
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import RedisCluster

pytestmark = pytest.mark.promise("DB-35")
WAYS = pytest.mark.parametrize("one", [True, False], ids=["a client", "all clients"])


class Seen:
    """Two hooks, and what they have seen."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.clients: list[Any] = []
        self.sent: list[Any] = []
        self.answers: list[Any] = []
        self.hooks: dict[str, Any] = {"on_start": self.on_start, "on_end": self.on_end}

    def on_start(self, span: Span, client: Any, args: tuple[Any, ...]) -> None:
        self.sent.append(args)
        self.clients.append(client)
        span.set_attribute("shop.key", str(args[1]))
        if self.fails:
            raise ValueError("a hook")

    def on_end(self, span: Span, client: Any, response: Any) -> None:
        self.answers.append(response)
        span.set_attribute("shop.answer", repr(response))
        if self.fails:
            raise ValueError("a hook")


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        yield client


def traced_with(hooks: dict[str, Any], client: Any, one: bool) -> None:
    instrument_redis(client if one else None, **hooks)


@WAYS
@pytest.mark.parametrize("fails", [False, True], ids=["", "hooks raise"])
def test_a_command(one: bool, fails: bool, client: Any, spans: SpanRecorder) -> None:
    """Its arguments and its answer; a hook that raises changes neither answer nor span."""
    seen = Seen(fails)
    traced_with(seen.hooks, client, one)
    assert client.set("orders:7", "open")
    assert seen.sent == [("SET", "orders:7", "open")]
    assert seen.answers == [True]
    assert seen.clients == [client]
    attributes = spans.one("SET").attributes or {}
    assert (attributes["shop.key"], attributes["shop.answer"]) == ("orders:7", "True")
    assert spans.one("SET").end_time is not None


@WAYS
def test_a_pipeline(one: bool, client: Any, spans: SpanRecorder) -> None:
    """The answers as a list, once; as contrib's, `on_start` is for commands."""
    seen = Seen()
    traced_with(seen.hooks, client, one)
    with client.pipeline() as pipeline:
        assert pipeline.set("a", 1).get("a").execute() == [True, b"1"]
    assert (seen.sent, seen.answers) == ([], [[True, b"1"]])
    assert (spans.one("PIPELINE").attributes or {})["shop.answer"] == "[True, b'1']"


@WAYS
def test_asyncio(one: bool, redis_url: str, spans: SpanRecorder) -> None:
    """Commands and pipelines of asyncio's client; the hooks are plain functions there too."""
    seen = Seen()

    async def main() -> None:
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            traced_with(seen.hooks, client, one)
            assert await client.set("a", 1)
            async with client.pipeline() as pipeline:
                await pipeline.get("a").execute()

    asyncio.run(main())
    assert (seen.sent, seen.answers) == ([("SET", "a", 1)], [True, [b"1"]])


def test_clusters(cluster_port: int, spans: SpanRecorder) -> None:
    """Sync and asyncio."""
    seen = Seen()

    async def main() -> None:
        async with AsyncRedisCluster(host="127.0.0.1", port=cluster_port) as client:
            instrument_redis(client, **seen.hooks)
            await client.get("a")

    with RedisCluster(host="127.0.0.1", port=cluster_port) as client:
        instrument_redis(client, **seen.hooks)
        client.set("a", "1")
        client.strlen("a")
    asyncio.run(main())
    assert [sent[0] for sent in seen.sent] == ["SET", "STRLEN", "GET"]
    assert seen.answers == [True, 1, b"1"]


def test_a_failed_command_has_no_answer(client: Any, spans: SpanRecorder) -> None:
    """The exception passes on, and the span has failed."""
    seen = Seen()
    instrument_redis(client, **seen.hooks)
    client.set("a", "text")
    with pytest.raises(redis.ResponseError):
        client.incr("a")
    assert [sent[0] for sent in seen.sent] == ["SET", "INCRBY"]
    assert seen.answers == [True]


def test_not_called_for_what_is_not_recorded(client: Any, spans: SpanRecorder) -> None:
    """Outside any span with ``roots=False``, and below a span that is not sampled."""
    seen = Seen()
    instrument_redis(client, roots=False, **seen.hooks)
    client.get("a")
    unsampled = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))
    with trace.use_span(unsampled):
        client.get("a")
    assert seen.sent == seen.answers == []


@pytest.mark.parametrize("option", ["on_start", "on_end"])
def test_what_cannot_be_called_is_an_error_at_set_up(option: str) -> None:
    """A coroutine function too: nothing awaits it."""

    async def hook(*_: Any) -> None: ...

    for wrong in ("hook", hook):
        with pytest.raises(ConfigurationError, match=option):
            instrument_redis(**{option: wrong})  # type: ignore[arg-type]
