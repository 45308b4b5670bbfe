"""The failing requests that each way of sampling leaves: the three demo services at 1 %, failures in three places.

A request goes through both APIs, two Celery workers, PostgreSQL, Redis, an LLM call, gRPC and DynamoDB; one in ten fails: in
the gRPC service, in a worker, or in the database. Contestants: head sampling alone; head and ``keep``; everything exported, and
the rule of a tail sampler (errors, and 1 % of the traces) applied to whole traces. With ``$OTELCOL``, a Collector's path, spans
of the last go through it; its core build has no tail sampler, so that the rule is applied here, to what it forwards.

    python benchmarks/keep_drill.py [--requests 300]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "services"))

import demo
import httpx
import redis
from obs_core.testing import OtlpSink, SinkSpan, wait_until

from tests.services import free_port, wait_for_port

RATE = 0.01
ONE_IN_A_HUNDRED = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": str(RATE)}  # fmt: skip
CONTESTANTS = {
    "head": ONE_IN_A_HUNDRED,
    "head and keep": {**ONE_IN_A_HUNDRED, "OBS_CORE_KEEP": "true"},
    "tail": {"OTEL_TRACES_SAMPLER": "always_on"},
}
#: Where a request fails: the device that makes it fail, and the name of the span where the error is.
FAULTS = {
    "database": ("pixel-9", "INSERT devices"),
    "worker": ("broken", "process genymotion.boot"),
    "gRPC service": ("mute", "enricher.Rating/Rate"),
}
COLLECTOR = """
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
exporters: {{otlp_http: {{traces_endpoint: "{sink}", sending_queue: {{enabled: false}}}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], exporters: [otlp_http]}}}}
"""


def fault_of(number: int) -> str | None:
    """Where the request of that number fails, or None."""
    return list(FAULTS)[number // 10 % 3] if number % 10 == 0 else None


@contextmanager
def collector(sink: OtlpSink) -> Iterator[str]:
    """Run a real Collector in front of `sink`, if there is one; yield where to export to."""
    if "OTELCOL" not in os.environ:
        yield sink.url
        return
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "collector.yaml")
        config.write_text(COLLECTOR.format(port=port, sink=sink.url))
        process = subprocess.Popen(
            [os.environ["OTELCOL"], "--config", str(config)],
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for_port(port)
            yield f"http://127.0.0.1:{port}/v1/traces"
        finally:
            process.terminate()
            process.wait(10)


def drill(settings: dict[str, str], count: int, *, relayed: bool) -> list[SinkSpan]:
    """Run the services, send the requests, stop the services; return all spans that were exported."""
    with OtlpSink() as sink, collector(sink) if relayed else here(sink) as url:
        more = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            **settings,
        }
        with demo.running(url, **more) as (_, environment):
            send_all(environment, count)
        return sink.spans


@contextmanager
def here(sink: OtlpSink) -> Iterator[str]:
    """Export to `sink` directly."""
    yield sink.url


def send_all(environment: dict[str, str], count: int) -> None:
    """Send the requests, and wait for the tasks."""
    send(environment["FRONT_URL"], "taken", "pixel-9")

    def one(number: int) -> None:
        fault = fault_of(number)
        device = "pixel-9" if fault is None else FAULTS[fault][0]
        run = "taken" if fault == "database" else f"drill-{number}"
        send(environment["FRONT_URL"], run, device, f"drill-{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(count)))
    with redis.Redis.from_url(environment["REDIS_URL"]) as cache:
        well = [number for number in range(count) if fault_of(number) is None]
        wait_until(
            lambda: all(cache.exists(f"described:drill-{each}") for each in well), 600
        )
        wait_until(lambda: not cache.llen("enricher") + cache.llen("genymotion"), 60)
    time.sleep(2)  # the last tasks are under way


def send(url: str, run: str, device: str, correlation_id: str = "warm-up") -> None:
    """Send one request, which may fail."""
    httpx.post(
        f"{url}/runs",
        params={"name": run, "device": device},
        headers={"X-Correlation-ID": correlation_id},
        timeout=60,
    )


def requests_of(spans: list[SinkSpan]) -> dict[int, list[SinkSpan]]:
    """Return the spans by number of request."""
    found = defaultdict(list)
    for span in spans:
        name, _, number = str(span.attributes.get("correlation_id")).partition("-")
        if name == "drill":
            found[int(number)].append(span)
    return found


def tail(found: dict[int, list[SinkSpan]]) -> dict[int, list[SinkSpan]]:
    """What a tail sampler forwards: traces with an error, and a share of the others by trace id."""
    return {
        number: spans
        for number, spans in found.items()
        if any(span.status == "ERROR" for span in spans)
        or spans[0].trace_id % (1 << 64) < RATE * (1 << 64)
    }


def error_of(spans: list[SinkSpan], fault: str) -> SinkSpan | None:
    """Return the span where the request failed, if it was exported."""
    name = FAULTS[fault][1]
    failed = [span for span in spans if span.name == name and span.status == "ERROR"]
    return failed[0] if failed else None


def is_whole(spans: list[SinkSpan], fault: str) -> bool:
    """Whether each span is there from the error up to the edge."""
    by_id = {span.span_id: span for span in spans}
    span = error_of(spans, fault)
    while span is not None and span.parent_id:
        span = by_id.get(span.parent_id)
    return span is not None


def row(name: str, found: dict[int, list[SinkSpan]], spans: int, count: int) -> str:
    """A line of the table."""
    cells = []
    for fault in FAULTS:
        numbers = [each for each in range(count) if fault_of(each) == fault]
        whole = sum(is_whole(found.get(each, []), fault) for each in numbers)
        seen = sum(error_of(found.get(each, []), fault) is not None for each in numbers)
        cells.append(f"{whole} / {seen} / {len(numbers)}")
    well = sum(fault_of(number) is None for number in found)
    return f"| {name} | {' | '.join(cells)} | {well} | {spans} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=300)
    options = parser.parse_args()
    lines = []
    for name, settings in CONTESTANTS.items():
        is_tail = name == "tail"
        spans = drill(settings, options.requests, relayed=is_tail)
        found = requests_of(spans)
        if is_tail:
            found = tail(found)
        lines.append(row(name, found, len(spans), options.requests))
        print(lines[-1], flush=True)
    print(
        "\nfailing requests: whole from the edge to the error / error exported / all\n"
    )
    print(f"| sampling | {' | '.join(FAULTS)} | well requests | spans that left the services |")  # fmt: skip
    print("|---|---|---|---|---|---|", *lines, sep="\n")


if __name__ == "__main__":
    main()
