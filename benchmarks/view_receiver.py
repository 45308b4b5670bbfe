"""obs-view with 100,000 spans: how fast it takes them in, answers, and how much memory it needs.

python benchmarks/view_receiver.py; needs obs-view, httpx, psutil. The receiver runs in a process of its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import httpx
import psutil
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SPANS, BATCH, BIG = 100_000, 512, 5_000
SECOND = 10**9
SERVER = """
import obs_view, time
receiver = obs_view.Receiver(0, 0).start()
print(receiver.http_url, flush=True)
time.sleep(3600)
"""


def batches() -> list[bytes]:
    """100,000 spans in OTLP batches: one trace of 5,000, the rest in traces of ten, with ten attributes each."""
    found, request, group, held = [], ExportTraceServiceRequest(), None, 0
    for number in range(SPANS):
        if group is None:
            resource = request.resource_spans.add()
            resource.resource.attributes.add(
                key="service.name"
            ).value.string_value = f"service-{number // BATCH % 5}"
            group = resource.scope_spans.add().spans
        trace = 1 if number < BIG else 2 + number // 10
        if number < BIG:
            parent = 0 if number == 0 else number // 2 + 1
        else:
            parent = 0 if number % 10 == 0 else number - number % 10 + 1
        span = group.add(
            trace_id=trace.to_bytes(16, "big"), span_id=(number + 1).to_bytes(8, "big"), kind=2
        )
        span.name = f"GET /item/{number % 50}"
        span.parent_span_id = parent.to_bytes(8, "big") if parent else b""
        span.start_time_unix_nano = 1_700_000_000 * SECOND + number * 10**5
        span.end_time_unix_nano = span.start_time_unix_nano + 10**6 * (1 + number % 90)
        span.status.code = 2 if number % 500 == 0 else 0
        for index in range(8):
            span.attributes.add(
                key=f"attribute.number.{index}"
            ).value.string_value = f"a value of some length {number} {index}"
        span.attributes.add(key="http.response.status_code").value.int_value = 200
        span.attributes.add(key="user.id").value.int_value = number
        held += 1
        if held == BATCH:
            found.append(request.SerializeToString())
            request, group, held = ExportTraceServiceRequest(), None, 0
    return [*found, request.SerializeToString()]


def timed(action: Callable[[], httpx.Response], rounds: int = 15) -> float:
    """The median of `rounds`, in milliseconds."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        action().raise_for_status()
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


def main() -> None:
    """Run and print."""
    bodies = batches()
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        print(json.dumps(measure(url, bodies, psutil.Process(process.pid)), indent=2))
    finally:
        process.kill()
        process.wait()


def measure(url: str, bodies: list[bytes], process: psutil.Process) -> dict[str, float]:
    """Send everything, then ask."""
    headers = {"Content-Type": "application/x-protobuf"}
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        empty = process.memory_info().rss
        began = time.perf_counter()
        for body in bodies:
            client.post("/v1/traces", content=body, headers=headers).raise_for_status()
        seconds = time.perf_counter() - began
        big = f"/api/traces/{1:032x}"
        return {
            "ingest spans/s": round(SPANS / seconds),
            "ingest cpu s per 100,000 spans": round(sum(process.cpu_times()[:2]), 2),
            "list ms": round(timed(lambda: client.get("/api/traces")), 1),
            "search by word ms": round(
                timed(lambda: client.get("/api/traces", params={"q": "length 77777"})), 1
            ),
            "search by attribute ms": round(
                timed(lambda: client.get("/api/traces", params={"q": "user.id=77777"})), 1
            ),
            "waterfall of 5,000 ms": round(timed(lambda: client.get(big)), 1),
            "waterfall of 10 ms": round(timed(lambda: client.get(f"/api/traces/{9000:032x}")), 1),
            "rss MB, empty": round(empty / 1e6),
            "rss MB, 100,000 spans": round(process.memory_info().rss / 1e6),
        }


if __name__ == "__main__":
    main()
