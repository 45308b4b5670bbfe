"""What a SQLite execute, a Redis GET and a 100-command pipeline cost: bare, under contrib, contrib shaped, obs-db, in one run.

Run: ``python benchmarks/db_overhead.py`` (a Redis is brought along; ``REDIS_URL`` names another). The contestants take turns in
each round; a figure is the least of all rounds, in µs of the calling thread's CPU time; the ratio of overheads is what DB-30
bounds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import redis
from obs_core.integration import stable_semconv
from obs_db import instrument_redis, instrument_sqlalchemy
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from sqlalchemy import text
from sqlalchemy.pool import StaticPool

sys.path.insert(0, str(Path(__file__).parents[1]))
from providers import our_provider
from table import head, row

from tests.services import embedded_redis

ROUNDS = 25
RATES = {"sampled": 1.0, "unsampled": 0.0}


@contextmanager
def contrib(provider: TracerProvider) -> Iterator[None]:
    """Contrib's instrumentations as they are, with stable names."""
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    SQLAlchemyInstrumentor().instrument(tracer_provider=provider, skip_dep_check=True)
    RedisInstrumentor().instrument(tracer_provider=provider)
    try:
        yield
    finally:
        SQLAlchemyInstrumentor().uninstrument()
        RedisInstrumentor().uninstrument()


@contextmanager
def ours(provider: TracerProvider, sql: Any = None, **options: Any) -> Iterator[None]:
    """obs-db with its defaults, or with `options`, of SQLAlchemy `sql` too."""
    handles = [
        instrument_sqlalchemy(tracer_provider=provider, **options, **(sql or {})),
        instrument_redis(tracer_provider=provider, **options),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.uninstrument()


def shaped(provider: TracerProvider) -> Any:
    """Contrib's spans by obs-db, within its limits."""
    forced = {"contrib_options": {"skip_dep_check": True}}
    return ours(provider, forced, implementation="contrib")


@contextmanager
def sqlite_execute(url: str) -> Iterator[Callable[[], Any]]:
    """One ``SELECT`` by primary key on an open connection."""
    import sqlalchemy

    # looked up just now: contrib only traces engines that its replacement of this function makes
    engine = sqlalchemy.create_engine("sqlite://", poolclass=StaticPool)
    query = text("SELECT id, name FROM users WHERE id = :id")
    with engine.connect() as connection:
        connection.execute(
            text("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
        )
        yield lambda: connection.execute(query, {"id": 1})
    engine.dispose()


@contextmanager
def redis_get(url: str) -> Iterator[Callable[[], Any]]:
    """One GET."""
    with redis.Redis.from_url(url) as client:
        yield lambda: client.get("key")


@contextmanager
def redis_pipeline(url: str) -> Iterator[Callable[[], Any]]:
    """A pipeline of 100 SETs."""

    def run() -> None:
        pipeline = client.pipeline(transaction=False)
        for _ in range(100):
            pipeline.set("key", "value")
        pipeline.execute()

    with redis.Redis.from_url(url) as client:
        yield run


CONTESTANTS: dict[str, Callable[[TracerProvider], Any]] = {
    "bare": lambda _: nullcontext(),
    "contrib": contrib,
    "shaped": shaped,
    "ours": ours,
}
SHOWN = ["contrib", "shaped", "ours"]
SCENARIOS: dict[str, tuple[Callable[[str], Any], int]] = {
    "SQLite execute": (sqlite_execute, 400),
    "Redis GET": (redis_get, 400),
    "Redis pipeline": (redis_pipeline, 20),
}


def providers(rate: float) -> dict[str, Any]:
    """Return each contestant's provider: ours that of a set-up, contrib's the SDK's."""
    sampler = ParentBased(TraceIdRatioBased(rate))
    theirs = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    mine = our_provider(rate)
    return {"bare": theirs, "contrib": theirs, "shaped": mine, "ours": mine}


def measure(run: Callable[[], Any], provider: TracerProvider, calls: int) -> float:
    """Return the least µs a call of four parent spans, a quarter of the calls under each."""
    tracer = provider.get_tracer("benchmark")
    best = float("inf")
    for _ in range(4):
        with tracer.start_as_current_span("parent"):
            started = time.thread_time()
            for _ in range(calls // 4):
                run()
            best = min(best, (time.thread_time() - started) / (calls // 4))
    return best * 1e6


def main() -> None:
    """Print the table."""
    stable_semconv()
    print(head("µs added to a call", SHOWN))
    with embedded_redis() as url:
        for name, (scenario, calls) in SCENARIOS.items():
            for sampling, rate in RATES.items():
                taken = contest(scenario, url, providers(rate), calls)
                print(row(f"{name}, {sampling}", SHOWN, taken), flush=True)


def contest(
    scenario: Callable[[str], Any],
    url: str,
    providers: dict[str, Any],
    calls: int,
    rounds: int = ROUNDS,
) -> list[dict[str, float]]:
    """Return each round's µs a call by contestant, the contestants taking turns."""
    taken: list[dict[str, float]] = []
    for _ in range(rounds):
        taken.append({})
        for name, instrumented in CONTESTANTS.items():
            provider = providers[name]
            with instrumented(provider), scenario(url) as run:
                taken[-1][name] = measure(run, provider, calls)
    return taken


if __name__ == "__main__":
    main()
