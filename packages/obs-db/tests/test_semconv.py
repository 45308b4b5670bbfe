"""Stable attribute names; the former ones as well where ``OTEL_SEMCONV_STABILITY_OPT_IN`` asks for both."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from obs_core.testing import SpanRecorder
from obs_db import instrument_redis, instrument_sqlalchemy
from obs_db._semconv import SQL
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from redis.cluster import RedisCluster
from sqlalchemy import create_engine, text

STABLE = [None, "", "database", "http", "http/dup, database"]
BOTH = ["database/dup", "http,database/dup", "http/dup, database/dup"]
VARIABLE = "OTEL_SEMCONV_STABILITY_OPT_IN"


def opt_in(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)


def told(spans: SpanRecorder, name: str) -> dict[str, Any]:
    return dict(spans.one(name).attributes or {})


def select_one(url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text("SELECT relname FROM pg_class WHERE relname = 'x'"))
    engine.dispose()


@pytest.mark.promise("DB-04")
@pytest.mark.parametrize("value", [*STABLE, *BOTH])
def test_names_of_a_statement(
    value: str | None,
    monkeypatch: pytest.MonkeyPatch,
    spans: SpanRecorder,
    psycopg_url: str,
) -> None:
    """Stable names always; under ``database/dup`` each value once more under its former name, and no value but those."""
    opt_in(monkeypatch, value)
    instrument_sqlalchemy(service_name="orders-db")
    select_one(psycopg_url)

    attributes = told(spans, "SELECT pg_class")
    former = SQL.of(attributes)
    assert {
        "db.system",
        "db.name",
        "db.operation",
        "db.sql.table",
        "db.statement",
    } <= former.keys()
    assert former["db.statement"] == "SELECT relname FROM pg_class WHERE relname = ?"
    known = {name for names in SQL.names.values() for name in names}
    found = {key: attributes[key] for key in known if key in attributes}
    assert found == (former if value in BOTH else {})


@pytest.mark.promise("DB-04")
@pytest.mark.parametrize(
    ("value", "both"), [("database", False), ("database/dup", True)]
)
def test_names_of_a_command(
    value: str,
    both: bool,
    monkeypatch: pytest.MonkeyPatch,
    spans: SpanRecorder,
    redis_url: str,
) -> None:
    """Of Redis alike: a command's, and a pipeline's with its size."""
    opt_in(monkeypatch, value)
    instrument_redis()
    with redis.Redis.from_url(redis_url) as client:
        client.get("a")
        client.pipeline().get("a").get("b").execute()

    former = {
        "db.system": "redis",
        "db.redis.database_index": 0,
        "db.operation": "GET",
        "db.statement": "GET ?",
        "net.peer.name": told(spans, "GET")["server.address"],
        "net.peer.port": told(spans, "GET")["server.port"],
    }
    pipeline = {
        "db.operation": "PIPELINE",
        "db.statement": "GET ?\nGET ?",
        "db.redis.pipeline_length": 2,
    }
    for name, expected in (("GET", former), ("PIPELINE", {**former, **pipeline})):
        attributes = told(spans, name)
        assert {key: attributes.get(key) for key in expected} == (
            expected if both else dict.fromkeys(expected)
        )


@pytest.mark.promise("DB-04", "DB-20")
def test_names_of_a_cluster(
    monkeypatch: pytest.MonkeyPatch, spans: SpanRecorder, cluster_port: int
) -> None:
    """A cluster's node has both names, too."""
    opt_in(monkeypatch, "database/dup")
    cluster: Any = RedisCluster(host="127.0.0.1", port=cluster_port)
    instrument_redis(cluster)
    cluster.get("a")
    cluster.close()

    attributes = told(spans, "GET")
    assert (attributes["net.peer.name"], attributes["net.peer.port"]) == (
        "127.0.0.1",
        attributes["server.port"],
    )


@pytest.mark.promise("DB-04", "DB-06")
@pytest.mark.parametrize(
    ("value", "both"), [("database", False), ("database/dup", True)]
)
def test_names_of_the_pool(
    value: str, both: bool, monkeypatch: pytest.MonkeyPatch, psycopg_url: str
) -> None:
    """The pool's gauge is there under its former name as well, with the same numbers."""
    opt_in(monkeypatch, value)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    engine = create_engine(psycopg_url)
    instrument_sqlalchemy(engine, meter_provider=provider)
    with engine.connect():
        data = reader.get_metrics_data()
    engine.dispose()
    provider.shutdown()

    assert data is not None
    metrics = {
        metric.name: metric
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }
    states = {"db.client.connection.count": "db.client.connection.state"}
    if both:
        states["db.client.connections.usage"] = "state"
    assert metrics.keys() == states.keys()
    for name, state in states.items():
        points = metrics[name].data.data_points
        assert {(point.attributes or {})[state]: point.value for point in points} == {
            "used": 1,
            "idle": 0,
        }  # type: ignore[union-attr] # of a sum


@pytest.mark.promise("DB-04")
def test_former_names_of_systems() -> None:
    """Systems whose names have changed have their former ones."""
    systems = {
        "microsoft.sql_server": "mssql",
        "oracle.db": "oracle",
        "postgresql": "postgresql",
    }
    for name, former in systems.items():
        assert SQL.added_to({"db.system.name": name}) == {
            "db.system.name": name,
            "db.system": former,
        }
