"""Commands that redis-py sends again: a real server behind a relay that loses answers."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio
from obs_core.testing import SpanRecorder
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

Counter = Callable[[], int]
Socket = socket.socket


class Relay:
    """TCP relays before servers; of requests that hold `marker`, the first `losses` are delivered and never answered."""

    def __init__(self) -> None:
        self._ports: dict[int, int] = {}
        self._sockets: list[socket.socket] = []
        self.marker = b"INCRBY"
        self.losses = 0

    def before(self, port: int) -> int:
        """Return the port of the relay before the server at `port`."""
        if port not in self._ports:
            listener = socket.create_server(("127.0.0.1", 0))
            self._sockets.append(listener)
            self._ports[port] = listener.getsockname()[1]
            self._run(self._accept, listener, port)
        return self._ports[port]

    def remap(self, address: tuple[str, int]) -> tuple[str, int]:
        """Return the relay's address for that of a cluster's node."""
        is_known = address[1] in self._ports.values()
        return "127.0.0.1", address[1] if is_known else self.before(address[1])

    def _run(self, serve: Callable[..., None], *args: object) -> None:
        threading.Thread(target=serve, args=args, daemon=True).start()

    def _accept(self, listener: socket.socket, port: int) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                self._sockets += [client, server]
                lost = threading.Event()
                self._run(self._forward, client, server, lost)
                self._run(self._answer, server, client, lost)

    def _forward(self, client: Socket, server: Socket, lost: threading.Event) -> None:
        with suppress(OSError):
            while request := client.recv(65536):
                if self.losses and self.marker in request:
                    self.losses -= 1
                    lost.set()
                server.sendall(request)

    def _answer(self, server: Socket, client: Socket, lost: threading.Event) -> None:
        with suppress(OSError):
            while (answer := server.recv(65536)) and not lost.is_set():
                client.sendall(answer)
            client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close all connections."""
        for each in self._sockets:
            each.close()


@pytest.fixture
def relay() -> Iterator[Relay]:
    relay = Relay()
    yield relay
    relay.close()


@pytest.fixture
def count(redis_url: str) -> Iterator[Counter]:
    """How often the key has been incremented, asked of the server itself."""
    with redis.Redis.from_url(redis_url) as client:
        client.delete("obs-db-repeats")
        yield lambda: int(client.get("obs-db-repeats") or 0)  # type: ignore[arg-type]
        client.delete("obs-db-repeats")


def options_of(redis_url: str, relay: Relay, retry: Any) -> dict[str, Any]:
    url = urlsplit(redis_url)
    return {
        "host": "127.0.0.1",
        "port": relay.before(url.port or 6379),
        "db": int(url.path.strip("/") or "0"),
        "retry": retry,
        "retry_on_error": [RedisConnectionError],
    }


def assert_repeats(spans: SpanRecorder, name: str, attempts: int) -> None:
    span = spans.one(name)
    attributes = span.attributes or {}
    assert attributes.get("obs.db.attempts") == (attempts if attempts > 1 else None)
    repeats = [event for event in span.events if event.name == "obs.db.repeat"]
    numbers = [(event.attributes or {})["obs.db.attempt"] for event in repeats]
    assert numbers == list(range(2, attempts + 1))
    for event in repeats:
        why = {**(event.attributes or {})}
        del why["obs.db.attempt"]
        assert why in (
            {"error.type": "redis.exceptions.ConnectionError"},
            {"db.operation.name": "INCRBY"},  # of a cluster's pipeline, alone
        )
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= event.timestamp <= span.end_time


def skip_if_given_up_early(is_pipeline: bool, losses: int) -> None:
    version = tuple(map(int, redis.__version__.split(".")[:2]))
    if is_pipeline and losses > 1 and version < (5, 1):
        pytest.skip("this redis-py repeats a pipeline once")


@pytest.mark.promise("DB-25")
@pytest.mark.parametrize("losses", [0, 2])
@pytest.mark.parametrize("is_pipeline", [False, True], ids=["command", "pipeline"])
def test_a_command_says_how_often_it_was_sent(
    redis_url: str,
    relay: Relay,
    count: Counter,
    traced: None,
    spans: SpanRecorder,
    is_pipeline: bool,
    losses: int,
) -> None:
    """As often as the server has carried it out, with an event for each repeat."""
    skip_if_given_up_early(is_pipeline, losses)
    retry = Retry(NoBackoff(), 3)
    with redis.Redis(**options_of(redis_url, relay, retry)) as client:
        relay.losses = losses
        if is_pipeline:
            client.pipeline().incr("obs-db-repeats").get("other").execute()
        else:
            client.incr("obs-db-repeats")
    assert_repeats(spans, "PIPELINE" if is_pipeline else "INCRBY", losses + 1)
    assert count() == losses + 1
    assert spans.one("PIPELINE" if is_pipeline else "INCRBY").status.is_unset


@pytest.mark.promise("DB-25")
@pytest.mark.parametrize("losses", [0, 2])
@pytest.mark.parametrize("is_pipeline", [False, True], ids=["command", "pipeline"])
def test_in_asyncio(
    redis_url: str,
    relay: Relay,
    count: Counter,
    traced: None,
    spans: SpanRecorder,
    is_pipeline: bool,
    losses: int,
) -> None:
    """The same of asyncio's client; a command beside it has repeats of its own, none."""
    skip_if_given_up_early(is_pipeline, losses)

    async def run() -> None:
        options = options_of(redis_url, relay, AsyncRetry(NoBackoff(), 3))
        async with redis.asyncio.Redis(**options) as client:
            relay.losses = losses
            if is_pipeline:
                sent = client.pipeline().incr("obs-db-repeats").get("other").execute()
            else:
                sent = client.incr("obs-db-repeats")
            await asyncio.gather(sent, client.get("beside"))

    asyncio.run(run())
    assert_repeats(spans, "PIPELINE" if is_pipeline else "INCRBY", losses + 1)
    assert_repeats(spans, "GET", 1)
    assert count() == losses + 1


@pytest.mark.promise("DB-25")
def test_a_command_that_fails_for_good_has_as_many_attempts(
    redis_url: str, relay: Relay, count: Counter, traced: None, spans: SpanRecorder
) -> None:
    """The last failure is the span's own, and no repeat."""
    with redis.Redis(**options_of(redis_url, relay, Retry(NoBackoff(), 2))) as client:
        relay.losses = 100
        with pytest.raises(RedisConnectionError):
            client.incr("obs-db-repeats")
        assert_repeats(spans, "INCRBY", 3)
        assert count() == 3
        assert not spans.one("INCRBY").status.is_ok
        relay.losses = 0
        client.set("obs-db-other", 1)
    assert_repeats(spans, "SET", 1)


@pytest.mark.promise("DB-25")
@pytest.mark.parametrize("losses", [0, 1])
@pytest.mark.parametrize("is_pipeline", [False, True], ids=["command", "pipeline"])
def test_in_a_cluster(
    cluster_port: int,
    relay: Relay,
    traced: None,
    spans: SpanRecorder,
    is_pipeline: bool,
    losses: int,
) -> None:
    """Its client repeats in loops of its own; a node breaks the connection once."""
    with RedisCluster(
        host="127.0.0.1", port=cluster_port, address_remap=relay.remap
    ) as client:
        client.delete("obs-db-repeats")
        spans.clear()
        relay.losses = losses
        if is_pipeline:
            client.pipeline().incr("obs-db-repeats").execute()
        else:
            client.incr("obs-db-repeats")
        assert_repeats(spans, "PIPELINE" if is_pipeline else "INCRBY", losses + 1)
        assert client.get("obs-db-repeats") == str(losses + 1).encode()


@pytest.mark.promise("DB-25")
@pytest.mark.parametrize("losses", [0, 1])
@pytest.mark.parametrize("is_pipeline", [False, True], ids=["command", "pipeline"])
def test_in_a_cluster_in_asyncio(
    cluster_port: int,
    relay: Relay,
    traced: None,
    spans: SpanRecorder,
    is_pipeline: bool,
    losses: int,
) -> None:
    """The same of asyncio's client."""

    async def run() -> object:
        async with AsyncRedisCluster(
            host="127.0.0.1", port=cluster_port, address_remap=relay.remap
        ) as client:
            await client.delete("obs-db-repeats")
            spans.clear()
            relay.losses = losses
            if is_pipeline:
                await client.pipeline().incr("obs-db-repeats").execute()
            else:
                await client.incr("obs-db-repeats")
            return await client.get("obs-db-repeats")

    assert asyncio.run(run()) == str(losses + 1).encode()
    assert_repeats(spans, "PIPELINE" if is_pipeline else "INCRBY", losses + 1)
    with warnings.catch_warnings():
        # redis-py forgets a node's connections when it learns the cluster anew, and closes none
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.promise("DB-24")
@pytest.mark.parametrize("protocol", [2, 3])
def test_what_a_connection_says_first_is_no_span(
    redis_url: str, relay: Relay, traced: None, spans: SpanRecorder, protocol: int
) -> None:
    """HELLO, CLIENT SETINFO, SELECT and maintenance notifications, on every new connection; also of a repeated command."""
    options = options_of(redis_url, relay, Retry(NoBackoff(), 3))
    with redis.Redis(
        protocol=protocol, health_check_interval=1, client_name="shop", **options
    ) as client:
        relay.losses = 1
        client.incr("obs-db-repeats")
        client.get("obs-db-repeats")
    assert [span.name for span in spans] == ["INCRBY", "GET"]
