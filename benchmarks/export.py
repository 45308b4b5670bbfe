"""What the export of a span costs the process, and how long it takes, when spans come as fast as they can: beside the SDK's.

A round ends 1,500 spans of eight attributes, fewer than any queue holds, and flushes them by OTLP over http to a collector on
loopback in a process of its own. CPU is that of all threads, less that of the same spans without an exporter in the same round;
medians over the rounds. Each contestant has its own process. With a spool, each span is on disk too until it has left.

    python benchmarks/export.py [rounds]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import Any

from sink import sink
from turns import Measure, answer, contend

SPANS = 1500
ATTRIBUTES: dict[str, Any] = {
    "http.request.method": "GET", "http.route": "/orders/{number}", "http.response.status_code": 200, "server.port": 8080,
    "server.address": "shop.example.com", "url.path": "/orders/7", "url.scheme": "http", "network.protocol.version": "1.1",
}  # fmt: skip
CONTESTANTS = ("no export", "sdk", "ours", "ours, spool")
Figures = tuple[float, float]


def set_up(contestant: str, url: str) -> Callable[[], object]:
    """Make the process's provider; return its flush."""
    if contestant.startswith("ours"):
        from obs_core import TracingConfig, setup_tracing

        folder = os.environ["SPOOL"] if contestant == "ours, spool" else None
        config = TracingConfig(
            service_name="shop", collector_url=url, collector_protocol="http", spool_dir=folder
        )
        return setup_tracing(config)[0].flush
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    if contestant == "sdk":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces"))
        )
    else:
        provider.add_span_processor(SpanProcessor())
    trace.set_tracer_provider(provider)
    return provider.force_flush


def measure(flush: Callable[[], object]) -> Figures:
    """Return µs of CPU a span, and seconds until all had left."""
    from opentelemetry import trace

    tracer = trace.get_tracer("bench")
    began, spent = time.perf_counter(), time.process_time()
    for _ in range(SPANS):
        tracer.start_span("GET /orders/{number}", attributes=ATTRIBUTES).end()
    flush()
    return (time.process_time() - spent) / SPANS * 1e6, time.perf_counter() - began


def work(contestant: str, url: str) -> Measure:
    """Set a contestant up; return what measures a round."""
    flush = set_up(contestant, url)
    return lambda: measure(flush)


def main(rounds: int) -> None:
    """Print the table."""
    with sink() as port, tempfile.TemporaryDirectory() as folder:
        figures = contend(
            [sys.executable, __file__, f"http://127.0.0.1:{port}"],
            CONTESTANTS,
            rounds,
            SPOOL=folder,
        )
    print("| export of a span | sdk | ours | ours / sdk | spread |")
    print("|---|---:|---:|---:|---:|")
    added = {
        name: [
            mine[0] - base[0]
            for mine, base in zip(figures[name], figures["no export"], strict=True)
        ]
        for name in CONTESTANTS[1:]
    }
    walls = {name: [wall / SPANS * 1e6 for _, wall in figures[name]] for name in added}
    for ours, with_spool in (("ours", ""), ("ours, spool", ", with a spool")):
        print(line(f"CPU{with_spool}, µs", added["sdk"], added[ours]))
        print(line(f"time until it has left{with_spool}, µs", walls["sdk"], walls[ours]))


def line(title: str, sdk: list[float], ours: list[float]) -> str:
    """Return a line of the table; the spread is that of the middle half of the rounds."""
    low, middle, high = quantiles(
        [mine / theirs for mine, theirs in zip(ours, sdk, strict=True)], n=4
    )
    return f"| {title} | {median(sdk):.1f} | {median(ours):.1f} | {middle:.2f} | {low:.2f} to {high:.2f} |"


if __name__ == "__main__":
    if len(sys.argv) > 2:
        answer(lambda: work(contestant=sys.argv[2], url=sys.argv[1]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
