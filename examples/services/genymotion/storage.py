"""genymotion's PostgreSQL and Redis."""

import os

import redis
from sqlalchemy import Engine, create_engine, text

engine: Engine = create_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1)
)
cache = redis.Redis.from_url(os.environ["REDIS_URL"])


def create_tables() -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TABLE IF NOT EXISTS devices (run TEXT PRIMARY KEY, device TEXT, state TEXT)"
            )
        )


def add(run: str, device: str) -> None:
    with engine.begin() as connection:
        values = {"run": run, "device": device}
        connection.execute(
            text(
                "INSERT INTO devices (run, device, state) VALUES (:run, :device, 'queued')"
            ),
            values,
        )


def set_state(run: str, state: str) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE devices SET state = :state WHERE run = :run"),
            {"run": run, "state": state},
        )
    cache.set(f"state:{run}", state)


def scan_catalogue() -> None:
    """A query that takes its time, as they do."""
    with engine.connect() as connection:
        connection.execute(text("SELECT count(*), pg_sleep(0.7) FROM devices"))
