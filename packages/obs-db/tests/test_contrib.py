"""Contrib's instrumentations as the implementation, of both libraries: their spans, our promises around them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
import sqlalchemy
from obs_core.exceptions import (
    AlreadyConfiguredError,
    ConfigurationError,
    MissingDependencyError,
)
from obs_core.integration import mark_worker_process, version_conflicts
from obs_core.testing import SpanRecorder
from obs_db import (
    instrument_redis,
    instrument_sqlalchemy,
    uninstrument_redis,
    uninstrument_sqlalchemy,
)
from opentelemetry import trace
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine

CONTRIB = "opentelemetry.instrumentation"
REFUSES = bool(version_conflicts("opentelemetry-instrumentation-sqlalchemy"))
#: Contrib's own option to work outside the range it claims: its spans are the same on 2.1.
ANY_VERSION = {"skip_dep_check": True}
single_clients = pytest.mark.skipif(
    not hasattr(RedisInstrumentor, "instrument_client"),
    reason="this contrib traces all clients or none",
)


def value(span: ReadableSpan, *names: str) -> Any:
    """Return the attribute under its stable or its former name."""
    attributes = span.attributes or {}
    return next((attributes[name] for name in names if name in attributes), None)


def scopes(spans: SpanRecorder) -> list[str]:
    return [each.instrumentation_scope.name for each in spans]  # type: ignore[union-attr]


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        yield client


@pytest.fixture
def shaped_redis(untraced: None) -> None:
    instrument_redis(implementation="contrib", service_name="cache")


@pytest.fixture
def shaped_engine(engine: Engine) -> Engine:
    """An engine that contrib traces, as on any version of SQLAlchemy."""
    instrument_sqlalchemy(engine, implementation="contrib", contrib_options=ANY_VERSION)
    return engine


def run(engine: Engine, sql: str) -> None:
    with engine.connect() as connection:
        connection.execute(text(sql))


# ------------------------------------------------------------------ ways in


@pytest.mark.promise("DB-31")
def test_all_clients(client: Any, redis_url: str, spans: SpanRecorder) -> None:
    """Made before or after, sync or asyncio; a second call is the first; uninstrumented, nothing is left."""
    before = vars(redis.Redis)["execute_command"]
    handle = instrument_redis(implementation="contrib")
    assert instrument_redis(implementation="contrib") is handle
    assert instrument_redis() is handle
    client.set("a", 1)
    client.pipeline().get("a").execute()

    async def ask() -> None:
        async with redis.asyncio.Redis.from_url(redis_url) as c:
            await c.get("a")

    asyncio.run(ask())
    assert scopes(spans) == [f"{CONTRIB}.redis"] * 3
    handle.uninstrument()
    client.get("a")
    assert len(spans) == 3
    assert vars(redis.Redis)["execute_command"] is before


@single_clients
@pytest.mark.promise("DB-31")
@pytest.mark.parametrize("also_ours", [False, True])
def test_a_single_client(
    client: Any, redis_url: str, spans: SpanRecorder, also_ours: bool
) -> None:
    """Other clients stay as they are, or ours; it can be taken back and given again."""
    if also_ours:
        instrument_redis()
    other = redis.Redis.from_url(redis_url)
    plain = dict(vars(client))
    for _ in range(2):
        instrument_redis(client, implementation="contrib")
        client.get("a")
        client.pipeline().get("a").execute()
        assert scopes(spans) == [f"{CONTRIB}.redis"] * 2
        other.get("a")
        assert scopes(spans)[2:] == ["obs_db"] * also_ours
        uninstrument_redis(client)
        assert vars(client) == plain
        spans.clear()
    client.get("a")
    assert scopes(spans) == ["obs_db"] * also_ours
    other.close()


@pytest.mark.skipif(
    hasattr(RedisInstrumentor, "instrument_client"), reason="this contrib can"
)
def test_a_single_client_of_an_older_contrib(client: Any) -> None:
    """The error says what that version can do."""
    with pytest.raises(ConfigurationError, match="all clients or none"):
        instrument_redis(client, implementation="contrib")


@pytest.mark.promise("DB-31")
def test_a_single_engine(engine: Engine, spans: SpanRecorder) -> None:
    """Other engines stay ours; taken back, it is ours again, and nothing of contrib's is left."""
    instrument_sqlalchemy()
    other = create_engine("sqlite://")
    for _ in range(2):
        instrument_sqlalchemy(
            engine, implementation="contrib", contrib_options=ANY_VERSION
        )
        run(engine, "SELECT 1 AS one")
        run(other, "SELECT 1 AS one")
        assert [
            (each.name, scope) for each, scope in zip(spans, scopes(spans), strict=True)
        ] == [
            ("connect", f"{CONTRIB}.sqlalchemy"),
            (spans.finished[1].name, f"{CONTRIB}.sqlalchemy"),
            ("SELECT", "obs_db"),
        ]
        uninstrument_sqlalchemy(engine)
        assert "connect" not in vars(engine)
        spans.clear()
    run(engine, "SELECT 1 AS one")
    assert scopes(spans) == ["obs_db"]
    other.dispose()


@pytest.mark.promise("DB-31")
def test_all_engines(spans: SpanRecorder) -> None:
    """Contrib traces the engines that are made from then on."""
    handle = instrument_sqlalchemy(
        implementation="contrib", contrib_options=ANY_VERSION
    )
    made = sqlalchemy.create_engine("sqlite://")
    run(made, "SELECT 1 AS one")
    assert scopes(spans) == [f"{CONTRIB}.sqlalchemy"] * 2
    handle.uninstrument()
    run(made, "SELECT 1 AS one")
    assert len(spans) == 2
    made.dispose()


def test_an_async_engine(spans: SpanRecorder) -> None:
    """By the engine inside."""
    from sqlalchemy.ext.asyncio import create_async_engine

    async def ask() -> None:
        engine = create_async_engine("sqlite+aiosqlite://")
        instrument_sqlalchemy(
            engine, implementation="contrib", contrib_options=ANY_VERSION
        )
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1 AS one"))
        await engine.dispose()

    asyncio.run(ask())
    assert scopes(spans) == [f"{CONTRIB}.sqlalchemy"] * 2


def test_targets_are_held_weakly(redis_url: str) -> None:
    """An engine that nobody has any more is collected."""
    engine = create_engine("sqlite://")
    instrument_sqlalchemy(engine, implementation="contrib", contrib_options=ANY_VERSION)
    alive = weakref.ref(engine)
    del engine
    gc.collect()
    assert alive() is None


# ------------------------------------------------------------------ refusals


@pytest.mark.promise("DB-32")
@pytest.mark.skipif(not REFUSES, reason="contrib works with this SQLAlchemy")
@pytest.mark.parametrize("is_single", [False, True])
def test_contrib_that_refuses_is_an_error(engine: Engine, is_single: bool) -> None:
    """Contrib itself would log a line and trace nothing."""
    with pytest.raises(ConfigurationError, match=r"sqlalchemy 2\.\d.* is outside"):
        instrument_sqlalchemy(engine if is_single else None, implementation="contrib")
    assert not SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry


@pytest.mark.promise("DB-32")
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without contrib's package."""
    monkeypatch.setitem(__import__("sys").modules, f"{CONTRIB}.redis", None)
    with pytest.raises(MissingDependencyError, match=r"obs-db\[contrib\]"):
        instrument_redis(implementation="contrib")


@pytest.mark.promise("DB-32")
def test_one_implementation_for_all(client: Any, spans: SpanRecorder) -> None:
    """Where contrib traces all clients, one of them cannot be ours, nor the other way round."""
    instrument_redis(implementation="contrib")
    with pytest.raises(AlreadyConfiguredError, match="Uninstrument that first"):
        instrument_redis(client, implementation="obs")
    uninstrument_redis()
    instrument_redis(client)
    with pytest.raises(AlreadyConfiguredError, match="Uninstrument that first"):
        instrument_redis(implementation="contrib")
    client.get("a")
    assert scopes(spans) == ["obs_db"]
    with pytest.raises(AlreadyConfiguredError, match="another implementation"):
        instrument_redis(client, implementation="contrib")


@pytest.mark.promise("DB-32")
def test_unshaped_contrib_is_in_the_way() -> None:
    """Its spans would go on without our limits."""
    RedisInstrumentor().instrument()
    try:
        with pytest.raises(AlreadyConfiguredError, match="active, unshaped"):
            instrument_redis(implementation="contrib")
    finally:
        RedisInstrumentor().uninstrument()


@pytest.mark.promise("DB-32")
def test_options_that_contrib_does_not_have(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error where the call names it; where the environment does, a warning, and the service starts."""
    with pytest.raises(ConfigurationError, match=r"slow_threshold_s: .*contrib"):
        instrument_sqlalchemy(implementation="contrib", slow_threshold_s=1)
    monkeypatch.setenv("OBS_IMPLEMENTATION", "contrib")
    monkeypatch.setattr("obs_core._safety.containment._warned", set())
    with pytest.raises(ConfigurationError) if REFUSES else _nothing():
        instrument_sqlalchemy(slow_threshold_s=1)
    assert "slow_threshold_s" in caplog.text


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


@pytest.mark.promise("DB-33")
def test_the_environment_chooses(
    client: Any, spans: SpanRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a call that names none; one that does wins; a wrong value raises."""
    monkeypatch.setenv("OBS_IMPLEMENTATION", "contrib")
    instrument_redis().uninstrument()
    with instrumented("redis=contrib,sqlalchemy=obs", monkeypatch):
        client.get("a")
    with instrumented("sqlalchemy=contrib", monkeypatch):
        client.get("a")
    assert scopes(spans) == [f"{CONTRIB}.redis", "obs_db"]
    monkeypatch.setenv("OBS_IMPLEMENTATION", "redis=otel")
    with pytest.raises(ConfigurationError, match="OBS_IMPLEMENTATION='redis=otel'"):
        instrument_redis()
    instrument_redis(implementation="obs")


def instrumented(text: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    from contextlib import closing
    from types import SimpleNamespace

    monkeypatch.setenv("OBS_IMPLEMENTATION", text)
    return closing(SimpleNamespace(close=instrument_redis().uninstrument))


# ------------------------------------------------------------------ promises


@pytest.mark.promise("DB-34")
def test_roots_in_workers(
    client: Any,
    shaped_engine: Engine,
    shaped_redis: None,
    spans: SpanRecorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that takes work from a queue has no roots of its own, only what a task asks."""
    mark_worker_process()
    try:
        client.get("a")
        run(shaped_engine, "SELECT 1 AS one")
        assert len(spans) == 0
        with trace.get_tracer("task").start_as_current_span("task"):
            client.get("a")
            run(shaped_engine, "SELECT 1 AS one")
        assert len(spans) == 4
    finally:
        mark_worker_process(False)


@pytest.mark.promise("DB-34")
def test_statements_have_no_literals(
    shaped_engine: Engine, spans: SpanRecorder
) -> None:
    """Neither in the text, nor in names, nor in what an error says."""
    run(shaped_engine, "SELECT * FROM users WHERE name = 'ada secret'")
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        run(shaped_engine, "INSERT INTO users (name) VALUES ('ada')")
    with pytest.raises(sqlalchemy.exc.OperationalError):
        run(shaped_engine, "SELECT'secret'FROM nowhere")
    exported = "\n".join(each.to_json() for each in spans)
    assert "secret" not in exported
    assert "'ada'" not in exported
    query, failed = spans.finished[1], spans.finished[3]
    assert (
        value(query, "db.query.text", "db.statement")
        == "SELECT * FROM users WHERE name = ?"
    )
    assert failed.status.status_code is StatusCode.ERROR
    assert (
        failed.status.description == "IntegrityError (SQLITE_CONSTRAINT_UNIQUE)"
        or not hasattr(ValueError, "add_note")
    )
    assert value(failed, "error.type") == "sqlite3.IntegrityError"


@pytest.mark.promise("DB-34")
def test_commands_have_no_arguments(
    client: Any, shaped_redis: None, spans: SpanRecorder
) -> None:
    """However they are written; the name of a pipeline is bounded."""
    client.execute_command("SET key-1 secret")
    client.pipeline().set("key-2", "secret").get("key-2").execute()
    client.config_get("maxmemory")
    exported = "\n".join(each.to_json() for each in spans)
    assert "secret" not in exported
    assert "key-" not in exported
    assert [each.name for each in spans] == ["SET", "PIPELINE", "CONFIG GET"]
    assert [value(each, "db.query.text", "db.statement") for each in spans] == [
        "SET ? ?",
        "SET ? ?\nGET ?",
        "CONFIG GET ?",
    ]
    assert {value(each, "peer.service") for each in spans} == {"cache"}


@pytest.mark.promise("DB-34")
def test_expected_answers_are_no_errors(
    client: Any, shaped_redis: None, spans: SpanRecorder
) -> None:
    """A script that is not cached, a watched key that changed; any other error is one, without its message."""
    with pytest.raises(redis.exceptions.NoScriptError):
        client.evalsha("0" * 40, 0)
    with client.pipeline() as pipeline:
        pipeline.watch("a")
        client.set("a", 1)
        pipeline.multi()
        pipeline.get("a")
        with pytest.raises(redis.WatchError):
            pipeline.execute()
    assert {each.status.status_code for each in spans} == {StatusCode.UNSET}
    assert [event.name for each in spans for event in each.events] == []
    spans.clear()
    client.set("word", "secret")
    with pytest.raises(redis.ResponseError):
        client.lpush("word", "x")
    failed = spans.finished[-1]
    assert failed.status.description == "ResponseError (WRONGTYPE)"
    (event,) = failed.events
    assert set(event.attributes or ()) == {"exception.type", "exception.stacktrace"}


@pytest.mark.promise("DB-34")
def test_long_values_are_cut_and_hooks_contained(
    client: Any,
    untraced: None,
    spans: SpanRecorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A hook may write what it likes, and raise."""

    def on_request(span: trace.Span, *_: Any) -> None:
        span.set_attribute("long", "x" * 10_000)
        span.set_attribute("many", ["x" * 1000] * 10)
        span.set_attribute("password", "secret")
        span.update_name("x" * 1000)

    def on_response(*_: Any) -> None:
        raise RuntimeError("hook")

    hooks = {"request_hook": on_request, "response_hook": on_response}
    instrument_redis(implementation="contrib", contrib_options=hooks)
    assert client.set("a", 1) is True
    (span,) = spans
    assert len(value(span, "long").encode()) == 4096
    assert len(value(span, "many")) <= 5
    assert value(span, "password") == "[REDACTED]"
    assert len(span.name.encode()) == 255
    assert caplog.text.count("RuntimeError: hook") == 1
