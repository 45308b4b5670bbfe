"""Pool gauges tell what the pool itself tells, whatever happened to its connections."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from obs_core.testing import SpanRecorder
from obs_db import instrument_sqlalchemy
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def pooled(reader: InMemoryMetricReader, psycopg_url: str) -> Iterator[Engine]:
    """An engine on PostgreSQL, with a pool of three and two, whose gauges `reader` reads."""
    engine = create_engine(psycopg_url, pool_size=3, max_overflow=2)
    provider = MeterProvider([reader])
    handle = instrument_sqlalchemy(engine, meter_provider=provider)
    yield engine
    handle.uninstrument()
    engine.dispose()
    provider.shutdown()


def gauges(reader: InMemoryMetricReader) -> dict[str, int]:
    """Return state → count of the only pool."""
    data = reader.get_metrics_data()
    points = [
        point
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "db.client.connection.count"
        for point in metric.data.data_points
    ]
    assert (
        len(
            {
                (point.attributes or {})["db.client.connection.pool.name"]
                for point in points
            }
        )
        <= 1
    )
    return {
        str((point.attributes or {})["db.client.connection.state"]): int(point.value)
        for point in points
    }  # type: ignore[union-attr] # of a sum


def pool(engine: Engine) -> dict[str, int]:
    return {"used": engine.pool.checkedout(), "idle": engine.pool.checkedin()}  # type: ignore[attr-defined] # a QueuePool


@pytest.mark.promise("DB-06")
def test_gauges_equal_the_pool(pooled: Engine, reader: InMemoryMetricReader) -> None:
    """After checkout, return, detach, invalidate and dispose the gauges are the pool's own numbers."""
    first, second, third = pooled.connect(), pooled.connect(), pooled.connect()
    assert gauges(reader) == pool(pooled) == {"used": 3, "idle": 0}

    first.detach()
    assert gauges(reader) == pool(pooled)
    second.invalidate()
    assert gauges(reader) == pool(pooled)
    third.close()
    assert gauges(reader) == pool(pooled)
    second.close()
    first.close()
    pooled.dispose()
    assert gauges(reader) == pool(pooled) == {"used": 0, "idle": 0}
    with pooled.connect():
        assert gauges(reader) == pool(pooled) == {"used": 1, "idle": 0}


FORKING = """
import os, sys
from obs_db import instrument_sqlalchemy
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sqlalchemy import create_engine

reader = InMemoryMetricReader()
provider = MeterProvider([reader])
engine = create_engine(sys.argv[1])
instrument_sqlalchemy(engine, meter_provider=provider)


def tell(who):
    (metric,) = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    states = {point.attributes["db.client.connection.state"]: point.value for point in metric.data.data_points}
    print(who, states["used"], states["idle"], engine.pool.checkedout(), engine.pool.checkedin(), flush=True)


first, second = engine.connect(), engine.connect()
if os.fork() == 0:
    engine.pool = engine.pool.recreate()
    with engine.connect():
        tell("child")
    os._exit(0)
os.wait()
tell("parent")
second.close()
first.close()
engine.dispose()
"""


@pytest.mark.promise("DB-06")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_gauges_of_a_forked_child(psycopg_url: str) -> None:
    """A child tells of its own pool, the parent goes on telling of its own; in both, gauges equal the pool."""
    command = [sys.executable, "-c", FORKING, psycopg_url]

    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout == "child 1 0 1 0\nparent 2 0 2 0\n"


@pytest.mark.promise("DB-06")
def test_gauges_end_with_the_instrumentation(
    pooled: Engine, reader: InMemoryMetricReader
) -> None:
    """After uninstrument nothing is observed; pools that keep no counts are left out."""
    with pooled.connect():
        assert gauges(reader)
    from obs_db import uninstrument_sqlalchemy

    uninstrument_sqlalchemy(pooled)
    assert gauges(reader) == {}


@pytest.mark.promise("DB-06")
def test_no_span_for_a_checkout(
    pooled: Engine, traced: None, spans: SpanRecorder
) -> None:
    """Taking a connection from the pool is no span."""
    with pooled.connect():
        pass

    assert not spans.finished


@pytest.mark.promise("DB-06")
def test_all_engines_are_observed(
    reader: InMemoryMetricReader, psycopg_url: str
) -> None:
    """Without an engine named, each engine is observed from its first statement on; a copy with options is no second pool."""
    provider = MeterProvider([reader])
    instrument_sqlalchemy(meter_provider=provider)
    engine = create_engine(psycopg_url)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("SELECT 1"))
        assert gauges(reader) == pool(engine) == {"used": 1, "idle": 0}
    engine.dispose()
    provider.shutdown()
