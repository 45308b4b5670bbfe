"""Run each promise against ours, contrib shaped and contrib bare; ``--write`` puts the outcomes into docs/compatibility.md.

Needs a Redis at ``REDIS_URL`` (default: loopback). ``tests/test_implementations.py`` keeps the page as it is run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis
import sqlalchemy
from obs_core.integration import mark_worker_process
from obs_core.testing import SpanRecorder, record_spans
from obs_db import instrument_redis, instrument_sqlalchemy
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from scripts.compatibility import PAGE, RUN, render

_FORCED = {"skip_dep_check": True}
_SECRET = "s3cret"
Run = Callable[[Any], object]
Check = Callable[[SpanRecorder], bool]


@contextmanager
def _redis(engine: str) -> Iterator[Any]:
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    if engine == "bare":
        RedisInstrumentor().instrument()
        undo: Any = RedisInstrumentor().uninstrument
    else:
        chosen: Any = "contrib" if engine == "shaped" else "obs"
        undo = instrument_redis(implementation=chosen).uninstrument
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
    with redis.Redis.from_url(url) as client:
        yield client
    undo()


@contextmanager
def _engine(kind: str) -> Iterator[Any]:
    """Instrument all, then make the engine; before that another engine, at ``.before``."""
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    before = sqlalchemy.create_engine("sqlite://")
    if kind == "bare":
        SQLAlchemyInstrumentor().instrument(**_FORCED)
        undo: Any = SQLAlchemyInstrumentor().uninstrument
    else:
        given: Any = {"implementation": "obs"}
        if kind == "shaped":
            given = {"implementation": "contrib", "contrib_options": _FORCED}
        undo = instrument_sqlalchemy(**given).uninstrument
    engine = sqlalchemy.create_engine("sqlite://")
    yield before, engine
    for each in (before, engine):
        each.dispose()
    undo()


def _sql(*statements: str, which: int = 1) -> Run:
    def run(engines: Any) -> None:
        with engines[which].connect() as connection:
            for statement in statements:
                with suppress(sqlalchemy.exc.DBAPIError):
                    connection.execute(sqlalchemy.text(statement))

    return run


def _worker(client: Any) -> None:
    mark_worker_process()
    try:
        client.ping()
    finally:
        mark_worker_process(False)


def _miss(client: Any) -> None:
    with suppress(redis.exceptions.NoScriptError):
        client.evalsha("0" * 40, 0)


def _wrong_type(client: Any) -> None:
    with suppress(redis.ResponseError):
        client.eval(f"return redis.error_reply('ERR {_SECRET}')", 0)


def _pipeline(client: Any) -> None:
    pipeline = client.pipeline()
    for number in range(20):
        pipeline.get(str(number))
    pipeline.execute()


def _repeated(engines: Any) -> None:
    with trace.get_tracer("probe").start_as_current_span("request"):
        _sql(*["SELECT 1 AS one"] * 12)(engines)


def _told(spans: SpanRecorder) -> str:
    return "".join(span.to_json() for span in spans)


def _hides(spans: SpanRecorder) -> bool:
    return len(spans) > 0 and _SECRET not in _told(spans)


def _no_error(spans: SpanRecorder) -> bool:
    return {span.status.status_code for span in spans} == {StatusCode.UNSET}


def _has_rows(spans: SpanRecorder) -> bool:
    return "_rows" in _told(spans)


_INSERT = "CREATE TABLE t (x TEXT UNIQUE)", f"INSERT INTO t VALUES ('{_SECRET}')"
_LITERAL = f"SELECT 1 WHERE 'x' = '{_SECRET}'"
#: What is promised, the library, what is run, and whether the spans keep it.
PROMISES: tuple[tuple[str, Any, Run, Check], ...] = (
    ("Redis: no root span in a worker process", _redis, _worker, lambda s: len(s) == 0),
    ("Redis: a script-cache miss is no error", _redis, _miss, _no_error),
    ("Redis: an error's message is not exported", _redis, _wrong_type, _hides),
    (
        "Redis: no argument, however the command is written",
        _redis,
        lambda client: client.execute_command(f"SET key {_SECRET}"),
        _hides,
    ),
    (
        "Redis: the name of a pipeline is bounded",
        _redis,
        _pipeline,
        lambda s: len(s.finished[0].name) <= 32,
    ),
    ("SQL: no literal of a statement", _engine, _sql(_LITERAL), _hides),
    (
        "SQL: none in an error, nor its message",
        _engine,
        _sql(*_INSERT, _INSERT[1]),
        _hides,
    ),
    (
        "SQL: none in the name of a span",
        _engine,
        _sql(f"SELECT'{_SECRET}'"),
        lambda s: len(s) > 0 and not any(_SECRET in span.name for span in s),
    ),
    (
        "SQL: one span a statement",
        _engine,
        _sql("SELECT 1 AS one"),
        lambda s: len(s) == 1,
    ),
    (
        "SQL: engines made before",
        _engine,
        _sql("SELECT 1 AS one", which=0),
        lambda s: any(span.name.startswith("SELECT") for span in s),
    ),
    ("SQL: the number of rows changed", _engine, _sql(*_INSERT), _has_rows),
    ("SQL: N+1 is told", _engine, _repeated, lambda s: "n_plus_one" in _told(s)),
)
ENGINES = ("obs", "shaped", "bare")


def outcome(engine: str, library: Any, run: Run, check: Check) -> bool:
    """Run one promise with one engine, and say whether it is kept."""
    with record_spans() as spans, library(engine) as target:
        run(target)
        return check(spans)


def table() -> str:
    """Return the section, as run now."""
    rows, kept = [], dict.fromkeys(ENGINES, 0)
    for promise, *probe in PROMISES:
        answers = {engine: outcome(engine, *probe) for engine in ENGINES}
        for engine, answer in answers.items():
            kept[engine] += answer
        cells = " | ".join("yes" if answers[each] else "no" for each in ENGINES)
        rows.append(f"| {promise} | {cells} |")
    totals = " | ".join(f"{kept[each]} of {len(rows)}" for each in ENGINES)
    return "\n".join(
        [
            RUN,
            "",
            "What obs-db keeps, run and not typed (`python -m scripts.implementations --write`), with the newest",
            'contrib, on the latest SQLAlchemy by `skip_dep_check`; `implementation="contrib"` is contrib shaped.',
            "",
            "| promise | ours | contrib shaped | contrib bare |",
            "|---|---|---|---|",
            *rows,
            f"| **kept** | {totals} |",
            "",
        ]
    )


def main(arguments: list[str]) -> int:
    """Write the section, or say that it is out of date."""
    page = render().partition(RUN)[0].rstrip("\n") + "\n\n" + table()
    if "--write" in arguments:
        PAGE.write_text(page, encoding="utf-8")
    is_current = PAGE.read_text(encoding="utf-8") == page
    print(f"docs/compatibility.md is {'current' if is_current else 'out of date'}")
    return not is_current


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
