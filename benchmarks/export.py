"""The cost of exporting a span, when spans come as fast as they can: ours beside the SDK's, by http and by grpc.

A round ends 1,500 spans of eight attributes, fewer than any queue holds, and flushes them to a collector on loopback in a
process of its own; then as many spans whose values are all unique. CPU is that of all threads for a span made, queued,
encoded and sent: who makes spans for less has no other way to show it. Medians over the rounds; each contestant has its
own process. With a spool, each span is on disk too until it has left.

    python benchmarks/export.py [rounds]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from statistics import median, quantiles
from typing import Any

from sink import sink
from turns import Measure, answer, contend

SPANS = 1500
ATTRIBUTES: dict[str, Any] = {
    "http.request.method": "GET", "http.route": "/orders/{number}", "http.response.status_code": 200, "server.port": 8080,
    "server.address": "shop.example.com", "url.path": "/orders/7", "url.scheme": "http", "network.protocol.version": "1.1",
}  # fmt: skip
CONTESTANTS = ("sdk", "ours", "ours, spool")
KINDS = ("", ", all values unique")
_numbers = count()


def set_up(contestant: str, protocol: str, url: str) -> Callable[[], object]:
    """Make the process's provider; return its flush."""
    if contestant.startswith("ours"):
        return set_up_ours(
            protocol, url, os.environ["SPOOL"] if "spool" in contestant else None
        )
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    provider.add_span_processor(sdk_export(protocol, url))
    trace.set_tracer_provider(provider)
    return provider.force_flush


def set_up_ours(protocol: Any, url: str, folder: str | None) -> Callable[[], object]:
    """Set obs-core up; return its flush."""
    from obs_core import TracingConfig, setup_tracing

    config = TracingConfig(
        service_name="shop",
        collector_url=url,
        collector_protocol=protocol,
        spool_dir=folder,
    )
    return setup_tracing(config)[0].flush


def sdk_export(protocol: str, url: str) -> Any:
    """Return the SDK's processor with its exporter."""
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc

        return BatchSpanProcessor(grpc.OTLPSpanExporter(url, insecure=True))
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http

    return BatchSpanProcessor(http.OTLPSpanExporter(f"{url}/v1/traces"))


def unique() -> dict[str, Any]:
    """Return the attributes with values that no other span has."""
    number = next(_numbers)
    return {
        key: f"{value}{number}"
        if isinstance(value, str)
        else value * 1_000_000 + number
        for key, value in ATTRIBUTES.items()
    }


def measure(
    flush: Callable[[], object], attributes: Sequence[dict[str, Any]]
) -> Iterator[float]:
    """Yield µs of CPU a span, and µs a span until all had left."""
    from opentelemetry import trace

    tracer = trace.get_tracer("bench")
    began, spent = time.perf_counter(), time.process_time()
    for each in attributes:
        tracer.start_span("GET /orders/{number}", attributes=each).end()
    flush()
    yield (time.process_time() - spent) / SPANS * 1e6
    yield (time.perf_counter() - began) / SPANS * 1e6


def work(contestant: str, protocol: str, url: str) -> Measure:
    """Set a contestant up; return what measures a round."""
    flush = set_up(contestant, protocol, url)

    def measure_round() -> Iterator[float]:
        yield from measure(flush, [ATTRIBUTES] * SPANS)
        yield from measure(flush, [unique() for _ in range(SPANS)])

    return measure_round


def main(rounds: int) -> None:
    """Print the table."""
    print("| export of a span | sdk | ours | ours / sdk | spread |")
    print("|---|---:|---:|---:|---:|")
    for protocol in ("http", "grpc"):
        with sink(protocol) as port, tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, f"http://127.0.0.1:{port}", protocol]
            report(protocol, contend(command, CONTESTANTS, rounds, SPOOL=folder))


def report(protocol: str, figures: dict[str, list[tuple[float, ...]]]) -> None:
    """Print the lines of a protocol."""
    for ours, with_spool in (("ours", ""), ("ours, spool", ", with a spool")):
        for kind, title in enumerate(KINDS):
            theirs, mine = (
                [each[2 * kind] for each in figures[name]] for name in ("sdk", ours)
            )
            print(line(f"{protocol}, CPU{with_spool}{title}, µs", theirs, mine))
        theirs, mine = ([each[1] for each in figures[name]] for name in ("sdk", ours))
        print(line(f"{protocol}, time until it has left{with_spool}, µs", theirs, mine))


def line(title: str, sdk: list[float], ours: list[float]) -> str:
    """Return a line of the table; the spread is that of the middle half of the rounds."""
    low, middle, high = quantiles(
        [mine / theirs for mine, theirs in zip(ours, sdk, strict=True)], n=4
    )
    return f"| {title} | {median(sdk):.1f} | {median(ours):.1f} | {middle:.2f} | {low:.2f} to {high:.2f} |"


if __name__ == "__main__":
    if len(sys.argv) > 2:
        answer(
            lambda: work(contestant=sys.argv[3], protocol=sys.argv[2], url=sys.argv[1])
        )
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
