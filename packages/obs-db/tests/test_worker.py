"""Redis in a real Celery worker: the broker's own traffic is no trace."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from celery import Celery
from obs_core.testing import OtlpSink, SinkSpan

from tests.services import celery_worker, embedded_redis

TASKS = 5


def run_tasks(app: Celery) -> list[int]:
    """Run the tasks and return their results, keeping none: it would ask for its Redis once more when it goes."""
    results = [app.send_task("worker_app.count") for _ in range(TASKS)]
    numbers = sorted(result.get(timeout=60) for result in results)
    del results
    gc.collect()
    return numbers


def spans_of_a_worker(
    sink: OtlpSink, tracing: str, sql_url: str | None = None
) -> list[SinkSpan]:
    """Let a worker run a few tasks, answer an inspection, end, and return everything it exported."""
    with (
        embedded_redis() as url,
        Celery(
            "worker_app", broker=url, backend=f"db+{sql_url}" if sql_url else url
        ) as app,
    ):
        told = {
            "REDIS_URL": url,
            "SINK_URL": sink.url,
            "TRACING": tracing,
            **({"SQL_URL": sql_url} if sql_url else {}),
        }
        with celery_worker(
            "worker_app",
            "--concurrency",
            "2",
            "--task-events",
            folder=Path(__file__).parent,
            **told,
        ):
            assert run_tasks(app) == list(range(1, TASKS + 1))
            assert app.control.inspect(timeout=10, limit=1).ping()
    return sink.spans


@pytest.fixture(params=["redis", "postgresql"])
def sql_url(request: pytest.FixtureRequest) -> str | None:
    """Where results are kept and what the task asks besides: nothing but the broker's Redis, or PostgreSQL."""
    return (
        request.getfixturevalue("psycopg_url")
        if request.param == "postgresql"
        else None
    )


@pytest.mark.promise("DB-23")
def test_a_worker_exports_its_tasks_alone(
    otlp_sink: OtlpSink, sql_url: str | None
) -> None:
    """Of main process and children nothing is exported but each task's span and what the task itself asked."""
    spans = spans_of_a_worker(otlp_sink, "obs-db", sql_url)

    roots = [span for span in spans if not span.parent_id]
    assert [span.name for span in roots] == ["run count"] * TASKS
    asked = ["INCRBY", *(["SELECT pg_class"] if sql_url else [])]
    children = {
        root.span_id: [span.name for span in spans if span.parent_id == root.span_id]
        for root in roots
    }
    assert list(children.values()) == [asked] * TASKS
    assert len(spans) == TASKS * (1 + len(asked))


@pytest.mark.promise("DB-34")
def test_a_worker_with_contribs_implementation(
    otlp_sink: OtlpSink, sql_url: str | None
) -> None:
    """The same of contrib's spans: nothing but each task's span and what the task itself asked, in all processes."""
    spans = spans_of_a_worker(otlp_sink, "shaped", sql_url)

    roots = [span for span in spans if not span.parent_id]
    assert [span.name for span in roots] == ["run count"] * TASKS
    asked = 3 if sql_url else 1  # contrib has a span for each connect, too
    assert len(spans) == TASKS * (1 + asked)


@pytest.mark.soak
@pytest.mark.promise("DB-23")
def test_what_is_left_out_is_there(otlp_sink: OtlpSink, sql_url: str | None) -> None:
    """The same worker under contrib's instrumentations shows that there was something to leave out, of each library."""
    spans = spans_of_a_worker(otlp_sink, "contrib", sql_url)

    roots = [span for span in spans if not span.parent_id and span.name != "run count"]
    systems = {"redis", *(["postgresql"] if sql_url else [])}
    for system in systems:
        assert (
            len(
                [
                    span
                    for span in roots
                    if system
                    in (
                        span.attributes.get("db.system.name"),
                        span.attributes.get("db.system"),
                    )
                ]
            )
            > 0
        )
