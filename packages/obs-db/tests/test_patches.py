"""What redis-py does for itself has no spans: health checks, and the layout of a cluster."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest
import redis
from obs_core.testing import SpanRecorder, wait_until
from opentelemetry import trace
from redis.cluster import RedisCluster

tracer = trace.get_tracer("test")
MULTIDB = pytest.mark.filterwarnings(
    "ignore:MultiDBClient is an experimental:UserWarning",
    # redis-py 7.0 leaves connections open
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


@pytest.fixture
def configuration(redis_url: str) -> Callable[[Any], Any]:
    """Make a configuration of two databases, checked every half second, of a package's `config`."""
    pytest.importorskip(
        "redis.multidb.client", reason="redis-py 7 and later, with pybreaker"
    )

    def make(config: Any) -> Any:
        place = redis_url.rpartition("/")[0]
        databases = [
            config.DatabaseConfig(from_url=f"{place}/{number}", weight=1.0 / number)
            for number in (1, 2)
        ]
        # before redis-py 7.2 all attempts of a check have to fit into the interval
        once = (
            {"health_check_probes": 1}
            if hasattr(config.MultiDbConfig, "health_check_probes")
            else {}
        )
        return config.MultiDbConfig(
            databases_config=databases, health_check_interval=0.5, **once
        )

    return make


def checks(redis_url: str) -> int:
    """Return how many PINGs the server has had."""
    with redis.Redis.from_url(redis_url) as client:
        found: Any = client.info("commandstats")
    return int(found.get("cmdstat_ping", {}).get("calls", 0))


@pytest.mark.promise("DB-24")
@MULTIDB
def test_multidb(
    configuration: Callable[[Any], Any],
    redis_url: str,
    traced: None,
    spans: SpanRecorder,
) -> None:
    """Health checks in a thread are no root spans; the commands of the user are spans as ever."""
    from redis.multidb import config
    from redis.multidb.client import MultiDBClient

    client: Any = MultiDBClient(configuration(config))
    with tracer.start_as_current_span("request"):
        client.set("a", 1)
    before = checks(redis_url)
    wait_until(
        lambda: checks(redis_url) >= before + 8, message="no health check was made"
    )
    client.get("a")
    client.close()
    del client
    gc.collect()

    assert [span.name for span in spans if span.name != "INFO"] == [
        "SET",
        "request",
        "GET",
    ]


@pytest.mark.promise("DB-24")
@MULTIDB
def test_multidb_in_asyncio(
    configuration: Callable[[Any], Any],
    redis_url: str,
    traced: None,
    spans: SpanRecorder,
) -> None:
    """In asyncio they run in the context of the first request, and are not in its trace."""
    from redis.asyncio.multidb import config
    from redis.asyncio.multidb.client import MultiDBClient

    async def main() -> None:
        client: Any = MultiDBClient(configuration(config))
        with tracer.start_as_current_span("request"):
            await client.set("a", 1)
        before = checks(redis_url)
        await asyncio.to_thread(wait_until, lambda: checks(redis_url) >= before + 8)
        await client.get("a")
        await client.aclose()

    asyncio.run(main())
    gc.collect()

    assert [span.name for span in spans if span.name != "INFO"] == [
        "SET",
        "request",
        "GET",
    ]


@pytest.mark.promise("DB-24")
def test_health_checks_of_a_connection(
    redis_url: str, traced: None, spans: SpanRecorder
) -> None:
    """The PING before a command on a connection that was idle is a part of that command."""
    before = checks(redis_url)
    spans.clear()
    client: Any = redis.Redis.from_url(redis_url, health_check_interval=1)
    client.get("a")
    (connection,) = client.connection_pool._available_connections
    connection.next_health_check = 0.1  # long past
    client.get("a")
    client.close()

    assert checks(redis_url) > before
    assert [span.name for span in spans if span.name != "INFO"] == ["GET", "GET"]


@pytest.mark.promise("DB-24")
def test_the_layout_of_a_cluster(
    cluster_port: int, traced: None, spans: SpanRecorder
) -> None:
    """Asking a cluster for its layout, as its client does when a node has moved, is no span."""
    cluster: Any = RedisCluster(host="127.0.0.1", port=cluster_port)
    spans.clear()
    cluster.nodes_manager.initialize()
    cluster.get("a")
    cluster.close()

    assert [span.name for span in spans] == ["GET"]
