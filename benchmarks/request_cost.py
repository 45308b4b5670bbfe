"""What tracing adds to a whole request, by how much is sampled: everything on, the export included, beside the peers.

A request goes through FastAPI and makes five calls of decorated functions, two SQL statements (SQLite), an HTTP call (httpx,
answered in the process) and a Celery publish (a broker in memory). Figures are the CPU time of the whole process, all threads,
until everything is flushed to a collector on loopback. A round's spans fit into everybody's queue. Each contestant, at each
rate, has its own process; all take turns round by round, with a single untraced one. Who is sampled is drawn: of 100 requests
at 1 %, the least round has none.

    python benchmarks/request_cost.py [--rounds 15] [--requests 100] [--only ours,1.0 contrib,1.0 …]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from sink import sink
from table import head, ratio, row
from turns import Measure, answer, contend

RATES = (0.01, 0.1, 1.0)
CONTESTANTS = ("ours", "keep", "contrib", "logfire", "ddtrace", "sentry")
#: Contestants at a rate, whose added cost is compared, and the ratio that is wanted.
RATIOS = (
    ("ours,0.01", "contrib,0.01", 0.4),
    ("ours,0.1", "contrib,0.1", 0.5),
    ("ours,1.0", "contrib,1.0", 0.55),
    ("ours,1.0", "ddtrace,1.0", 0.8),
    ("keep,0.01", "contrib,1.0", 0.45),
)
SCOPE: dict[str, Any] = {
    "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
    "path": "/orders/7", "raw_path": b"/orders/7", "query_string": b"", "root_path": "",
    "client": ("127.0.0.1", 5000), "server": ("127.0.0.1", 80),
    "headers": [(b"host", b"shop.example.com"), (b"user-agent", b"bench/1.0"), (b"accept", b"*/*")],
}  # fmt: skip

Decorate = Callable[[Any], Any]
Instrument = Callable[[Any, Any, Any, Any], None]
Flush = Callable[[], object]
Contestant = tuple[Decorate, Instrument, Flush]


def plain(function: Any) -> Any:
    return function


def nothing(*_: Any) -> None:
    pass


def bare(rate: float, port: int) -> Contestant:
    return plain, nothing, lambda: None


def keep(rate: float, port: int) -> Contestant:
    """Sampling, and every other request recorded in case it fails."""
    from obs_core import Keep

    return ours(rate, port, Keep(errors=True, slower_than_s=2.0))


def ours(rate: float, port: int, keep: Any = None) -> Contestant:
    from obs_celery import instrument_celery
    from obs_core import TracingConfig, setup_tracing, trace_function
    from obs_db import instrument_sqlalchemy
    from obs_http import instrument_fastapi, instrument_httpx

    url = f"http://127.0.0.1:{port}"
    config = TracingConfig(
        service_name="shop",
        collector_url=url,
        collector_protocol="http",
        sampling_rate=rate,
        keep=keep,
    )
    manager, _ = setup_tracing(config)

    def instrument(app: Any, engine: Any, celery: Any, client: Any) -> None:
        instrument_fastapi(app)
        instrument_sqlalchemy(engine=engine)
        instrument_celery(celery)
        instrument_httpx(client)

    return trace_function, instrument, manager.flush


def contrib(rate: float, port: int) -> Contestant:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(rate)))
    provider.add_span_processor(batch_processor(port))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("bench")
    return (
        lambda function: tracer.start_as_current_span(function.__name__)(function),
        instrument_contrib,
        provider.force_flush,
    )


def batch_processor(port: int) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(
        OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}/v1/traces")
    )


def instrument_contrib(app: Any, engine: Any, celery: Any, client: Any) -> None:
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    FastAPIInstrumentor.instrument_app(app)
    HTTPXClientInstrumentor().instrument_client(client)
    SQLAlchemyInstrumentor().instrument(engine=engine, skip_dep_check=True)
    CeleryInstrumentor().instrument()


def logfire(rate: float, port: int) -> Contestant:
    import logfire

    sampling = logfire.SamplingOptions(head=rate)
    processors = [batch_processor(port)]
    logfire.configure(
        send_to_logfire=False,
        console=False,
        sampling=sampling,
        additional_span_processors=processors,
    )

    def instrument(app: Any, engine: Any, celery: Any, client: Any) -> None:
        logfire.instrument_fastapi(app)
        logfire.instrument_httpx(client)
        logfire.instrument_sqlalchemy(engine=engine)
        logfire.instrument_celery()

    return (
        lambda function: logfire.instrument(function.__name__, extract_args=False)(
            function
        ),
        instrument,
        logfire.force_flush,
    )


def ddtrace(rate: float, port: int) -> Contestant:
    os.environ["DD_TRACE_SAMPLING_RULES"] = f'[{{"sample_rate": {rate}}}]'
    os.environ["DD_TRACE_AGENT_URL"] = f"http://127.0.0.1:{port}"
    os.environ["DD_INSTRUMENTATION_TELEMETRY_ENABLED"] = os.environ[
        "DD_REMOTE_CONFIGURATION_ENABLED"
    ] = "false"
    from ddtrace import patch
    from ddtrace.trace import tracer

    patch(fastapi=True, starlette=True, sqlalchemy=True, httpx=True, celery=True)
    return tracer.wrap(), nothing, tracer.flush


def sentry(rate: float, port: int) -> Contestant:
    import sentry_sdk

    sentry_sdk.init(dsn=f"http://key@127.0.0.1:{port}/1", traces_sample_rate=rate)
    return sentry_sdk.trace, nothing, sentry_sdk.flush


def service(decorate: Decorate, instrument: Instrument) -> Any:
    """Make the application; what it uses is imported after the contestants have patched it."""
    import httpx
    from celery import Celery
    from fastapi import FastAPI
    from sqlalchemy import create_engine, text

    app, celery = FastAPI(), Celery("shop", broker="memory://")
    engine = create_engine("sqlite://")
    answer = httpx.MockTransport(lambda _: httpx.Response(200, json={"price": 3}))
    client = httpx.AsyncClient(transport=answer)
    instrument(app, engine, celery, client)

    @decorate
    def step(number: int) -> int:
        return number + 1

    @app.get("/orders/{number}")
    async def order(number: int) -> dict[str, int]:
        for _ in range(5):
            step(number)
        with engine.connect() as connection:
            connection.execute(text("SELECT :number"), {"number": number}).scalar()
            connection.execute(text("SELECT 2 + :number"), {"number": number}).scalar()
        price = (await client.get("http://prices.example.com/7")).json()["price"]
        celery.send_task("ship", args=[number])
        return {"number": number, "price": price}

    return app, celery


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def requests(app: Any, count: int) -> None:
    statuses: list[int] = []

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    for _ in range(count):
        await app({**SCOPE, "state": {}}, receive, send)
    assert statuses == [200] * count, statuses[:3]


def work(contestant: str, port: int, count: int) -> Measure:
    """Set a contestant up; return what measures a round: its CPU time a request, in µs."""
    name, _, rate = contestant.partition(",")
    decorate, instrument, flush = globals()[name](float(rate or 0), port)
    app, celery = service(decorate, instrument)
    loop = asyncio.new_event_loop()

    def measure() -> tuple[float]:
        start = time.process_time()
        loop.run_until_complete(requests(app, count))
        flush()
        spent = time.process_time() - start
        with celery.connection_for_write() as connection:
            connection.default_channel.queue_purge("celery")
        return (spent / count * 1e6,)

    return measure


def report(rounds: list[dict[str, float]]) -> None:
    """Print a line for each rate, and the ratios of `RATIOS`."""
    print(head("µs added to a request, sampled", CONTESTANTS))
    for rate in RATES:
        names = {"bare": "bare", **{name: f"{name},{rate}" for name in CONTESTANTS}}
        taken = [
            {name: each[full] for name, full in names.items() if full in each}
            for each in rounds
        ]
        print(row(f"{rate:.0%}", CONTESTANTS, taken))
    print()
    for one, other, wanted in RATIOS:
        if one in rounds[0] and other in rounds[0]:
            print(f"- {one} / {other}: {ratio(rounds, one, other)}; wanted {wanted}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=100)
    everybody = [f"{name},{rate}" for rate in RATES for name in CONTESTANTS]
    parser.add_argument("--only", nargs="*", default=everybody)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--worker")
    options = parser.parse_args()
    if options.worker:
        return answer(lambda: work(options.worker, options.port, options.requests))
    command = [sys.executable, __file__, "--requests", str(options.requests)]
    settings = {"LOGFIRE_IGNORE_NO_CONFIG": "1", "DD_TRACE_LOG_LEVEL": "ERROR"}
    with sink() as port:
        command += ["--port", str(port), "--worker"]
        names = ["bare", *options.only]
        figures = contend(command, names, options.rounds, **settings)
    report(
        [
            {name: each[number][0] for name, each in figures.items()}
            for number in range(options.rounds)
        ]
    )
    return None


if __name__ == "__main__":
    main()
