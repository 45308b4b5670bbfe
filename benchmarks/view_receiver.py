"""obs-view with 100,000 spans and 100,000 log records: ingest rate, query times, memory, frames of the page.

python benchmarks/view_receiver.py; needs obs-view, httpx, psutil, and for the frames playwright and chromium. The receiver
runs in a process of its own; "cpu" is that process's time a request, which other work on the machine does not change much.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time

import httpx
import psutil
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

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
            trace_id=trace.to_bytes(16, "big"),
            span_id=(number + 1).to_bytes(8, "big"),
            kind=2,
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


def log_batches() -> list[bytes]:
    """100,000 log records in OTLP batches, one for each span."""
    found = []
    for first in range(0, SPANS, BATCH):
        request = ExportLogsServiceRequest()
        group = request.resource_logs.add()
        name = group.resource.attributes.add(key="service.name")
        name.value.string_value = f"service-{first // BATCH % 5}"
        records = group.scope_logs.add().log_records
        for number in range(first, min(first + BATCH, SPANS)):
            trace = 1 if number < BIG else 2 + number // 10
            record = records.add(
                trace_id=trace.to_bytes(16, "big"),
                span_id=(number + 1).to_bytes(8, "big"),
            )
            record.time_unix_nano = 1_700_000_000 * SECOND + number * 10**5
            record.severity_number = 17 if number % 500 == 0 else 9
            record.severity_text = "ERROR" if number % 500 == 0 else "INFO"
            record.body.string_value = (
                f"item {number} was looked up in the cache and not found there"
            )
            record.attributes.add(key="user.id").value.int_value = number
        found.append(request.SerializeToString())
    return found


class Meter:
    """Times requests to a receiver: the median, and the processor time that the receiver spends on one."""

    def __init__(self, client: httpx.Client, process: psutil.Process) -> None:
        self.client, self.process = client, process

    def spent(self) -> float:
        """Seconds of processor time so far."""
        return float(sum(self.process.cpu_times()[:2]))

    def get(self, path: str, rounds: int = 15, **params: str) -> str:
        """Return both, in milliseconds, of a GET."""
        took, before = [], self.spent()
        for _ in range(rounds):
            began = time.perf_counter()
            self.client.get(path, params=params).raise_for_status()
            took.append(1000 * (time.perf_counter() - began))
        cpu = 1000 * (self.spent() - before) / rounds
        return f"{statistics.median(took):.0f} (cpu {cpu:.0f})"

    def post(self, path: str, bodies: list[bytes]) -> str:
        """Return the records a second, and the processor time of all."""
        headers = {"Content-Type": "application/x-protobuf"}
        began, before = time.perf_counter(), self.spent()
        for body in bodies:
            self.client.post(path, content=body, headers=headers).raise_for_status()
        rate = SPANS / (time.perf_counter() - began)
        return f"{rate:,.0f} (cpu {self.spent() - before:.1f} s)"

    def megabytes(self) -> int:
        """Resident memory."""
        return round(self.process.memory_info().rss / 1e6)


def main() -> None:
    """Run and print."""
    spans, logs = batches(), log_batches()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            figures = measure(Meter(client, psutil.Process(process.pid)), spans, logs)
        print(json.dumps({**figures, **frames(url)}, indent=2))
    finally:
        process.kill()
        process.wait()


def measure(meter: Meter, spans: list[bytes], logs: list[bytes]) -> dict[str, object]:
    """Send everything, then ask."""
    empty = meter.megabytes()
    ingest = {"spans/s": meter.post("/v1/traces", spans)}
    without_logs = meter.megabytes()
    ingest["log records/s"] = meter.post("/v1/logs", logs)
    big, small = (f"/api/traces/{number:032x}" for number in (1, 9000))
    return {
        **ingest,
        "list ms": meter.get("/api/traces"),
        "search by word ms": meter.get("/api/traces", q="length 77777"),
        "search by attribute ms": meter.get("/api/traces", q="user.id=77777"),
        "search by comparison ms": meter.get(
            "/api/traces", q="http.response.status_code>=500"
        ),
        "search of logs ms": meter.get("/api/logs", q="77777"),
        "operations ms": meter.get("/api/operations"),
        "waterfall of 5,000 ms": meter.get(big),
        "waterfall of 10 ms": meter.get(small),
        "rss MB: empty, spans, spans and logs": [
            empty,
            without_logs,
            meter.megabytes(),
        ],
    }


STEPS = """async (steps) => {
    const rows = document.querySelector(".rows"), times = [];
    for (let step = 0; step < steps; step++) {
        const began = performance.now();
        rows.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
        rows.getBoundingClientRect();
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        times.push(performance.now() - began);
    }
    return times.sort((a, b) => a - b);
}"""
DRAWING = """(steps) => {
    const rows = document.querySelector(".rows"), times = [];
    for (let step = 0; step < steps; step++) {
        const began = performance.now();
        rows.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
        rows.getBoundingClientRect();
        times.push(performance.now() - began);
    }
    return times.sort((a, b) => a - b);
}"""


def frames(url: str) -> dict[str, object]:
    """Open the trace of 5,000 spans in a browser and step through it by key; empty without one."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {}
    if path is None:
        return {}
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        began = time.perf_counter()
        page.goto(f"{url}/#/trace/{1:032x}")
        page.wait_for_selector(".row")
        opened = time.perf_counter() - began
        drawn, whole = page.evaluate(DRAWING, 200), page.evaluate(STEPS, 200)
        browser.close()
    return {
        "page: 5,000 spans open, s": round(opened, 2),
        "page: drawing a step by key, ms (median, p95)": [
            round(drawn[100], 1),
            round(drawn[190], 1),
        ],
        "page: a step until its frame, ms (median, p95)": [
            round(whole[100], 1),
            round(whole[190], 1),
        ],
    }


if __name__ == "__main__":
    main()
