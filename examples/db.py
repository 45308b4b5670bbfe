"""SQLAlchemy and Redis in one trace, printed: ``python examples/db.py`` (Redis only where ``REDIS_URL`` names one)."""

import os

from obs_core.testing import record_spans
from obs_db import instrument_redis, instrument_sqlalchemy
from opentelemetry import trace
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool


def main() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    instrument_sqlalchemy(engine, service_name="orders-db", n_plus_one_threshold=3)
    instrument_redis()

    with record_spans() as spans:
        with (
            trace.get_tracer("example").start_as_current_span("GET /orders"),
            engine.begin() as connection,
        ):
            connection.execute(
                text("CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)")
            )
            connection.execute(
                text("INSERT INTO orders (state) VALUES (:state)"),
                [{"state": "new"}, {"state": "paid"}],
            )
            for number in (1, 2, 3):
                connection.execute(
                    text(
                        f"SELECT state FROM orders WHERE id = {number} AND state <> 'secret'"
                    )
                )
            if "REDIS_URL" in os.environ:
                ask_redis(os.environ["REDIS_URL"])
        print(spans.tree(attributes=["db.query.text", "db.operation.batch.size"]))
        print(
            "events of GET /orders:",
            [event.name for event in spans.one("GET /orders").events],
        )


def ask_redis(url: str) -> None:
    import redis

    with redis.Redis.from_url(url) as client:
        client.set("obs-db:example", "a value that no one sees")
        client.delete("obs-db:example")


if __name__ == "__main__":
    main()
