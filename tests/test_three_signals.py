"""One request's spans, log records and metrics at obs-view, and at the real OpenTelemetry Collector (``$OTELCOL``).

``pytest -s tests/test_three_signals.py`` prints what has come.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from obs_core.testing import wait_until
from obs_view import Receiver, trace_text

from tests.services import free_port, wait_for_port

APP = """
import logging

from fastapi import FastAPI
from obs_core import TracingConfig, setup_tracing

manager, middleware = setup_tracing(
    TracingConfig(service_name="shop", logs=True, metrics=True)
)
api = FastAPI()
api.add_middleware(*middleware)


@api.get("/orders/{order_id}")
def order(order_id: int) -> dict[str, int]:
    logging.getLogger("shop").warning("order %d is late", order_id)
    return {"order": order_id}
"""
CONFIG = """
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}}}
exporters:
  debug: {{verbosity: detailed}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [debug]}}
    logs: {{receivers: [otlp], exporters: [debug]}}
    metrics: {{receivers: [otlp], exporters: [debug]}}
"""
PROTOCOLS = pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])


@pytest.mark.promise("CORE-95", "CORE-96", "VIEW-13")
@PROTOCOLS
def test_at_obs_view(tmp_path: Path, protocol: str) -> None:
    """The record and the exemplar of the duration have the trace and the span of the request."""
    with Receiver(0, 0) as receiver:
        url = receiver.grpc_url if protocol == "grpc" else receiver.http_url
        request(tmp_path, url, protocol)
        (trace,) = receiver.traces()
        logs = answer(receiver, "logs?q=late")["logs"]
        durations = answer(receiver, "metrics?q=name=http.server.request.duration")
    print("\n" + trace_text(trace), logs, durations["metrics"], sep="\n")
    server = trace.root
    assert (server.name, server.service) == ("GET /orders/{order_id}", "shop")
    (log,) = logs
    assert (log["body"], log["trace"]) == ("order 7 is late", trace.trace_id)
    assert log["span"] in {span.span_id for span in trace.spans}
    (duration,) = durations["metrics"]
    assert duration["count"] == 1
    assert duration["attributes"]["http.route"] == "/orders/{order_id}"
    assert duration["instance"] == server.resource["service.instance.id"]
    (exemplar,) = duration["exemplars"]
    assert (exemplar["trace"], exemplar["span"]) == (trace.trace_id, server.span_id)


@pytest.mark.promise("CORE-95", "CORE-96")
@PROTOCOLS
def test_at_the_collector(tmp_path: Path, protocol: str) -> None:
    """Its debug exporter prints a span, a record and a duration with the same ids."""
    with collector(tmp_path) as (ports, said):
        url = f"http://127.0.0.1:{ports[protocol]}"
        request(tmp_path, url, protocol)
        wanted = (
            "http.server.request.duration",
            "order 7 is late",
            "Kind           : Server",
        )
        wait_until(
            lambda: all(text in said.read_text() for text in wanted),
            20,
            message=said.read_text,
        )
        text = said.read_text()
    print("\n" + text)
    spans, logs, metrics = (
        parts(text, kind) for kind in ("Span", "LogRecord", "Metric")
    )
    (server,) = (span for span in spans if "Kind           : Server" in span)
    trace_id, span_id = field(server, "Trace ID"), field(server, "ID")
    (log,) = (log for log in logs if "order 7 is late" in log)
    assert field(log, "Trace ID") == trace_id
    assert field(log, "Span ID") in {field(span, "ID") for span in spans}
    (duration,) = (metric for metric in metrics if wanted[0] in metric)
    assert re.search(r"Count: 1\b", duration)
    exemplar = duration.partition("Exemplar #0")[2]
    assert (field(exemplar, "Trace ID"), field(exemplar, "Span ID")) == (
        trace_id,
        span_id,
    )


def request(folder: Path, collector_url: str, protocol: str) -> None:
    """Run the service, ask it once, and stop it: all that it exports has gone when it is gone."""
    (folder / "shop.py").write_text(APP)
    port = free_port()
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector_url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
    }
    command = [sys.executable, "-m", "uvicorn", "shop:api", "--port", str(port)]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **told},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port)
        url = f"http://127.0.0.1:{port}/orders/7"
        assert httpx.get(url, trust_env=False).json() == {"order": 7}
        process.terminate()
        process.wait(20)
    finally:
        process.kill()
        process.wait(10)


def answer(receiver: Receiver, path: str) -> dict[str, list[dict[str, object]]]:
    """Return what obs-view's page is given."""
    url = f"{receiver.http_url}/api/{path}"
    found: dict[str, list[dict[str, object]]] = httpx.get(url, trust_env=False).json()
    return found


@contextmanager
def collector(folder: Path) -> Iterator[tuple[dict[str, int], Path]]:
    """Run a collector that prints what it receives; yield its ports by protocol, and the file that it prints to."""
    if "OTELCOL" not in os.environ:
        pytest.skip("OTELCOL names no OpenTelemetry Collector")
    ports = {"grpc": free_port(), "http/protobuf": free_port()}
    config, said = folder / "collector.yaml", folder / "collector.log"
    config.write_text(CONFIG.format(grpc=ports["grpc"], http=ports["http/protobuf"]))
    with said.open("w") as output:
        command = [os.environ["OTELCOL"], "--config", str(config)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        for port in ports.values():
            wait_for_port(port)
        yield ports, said
    finally:
        process.terminate()
        process.wait(10)


def parts(text: str, kind: str) -> list[str]:
    """Return the parts of the debug exporter's text that describe a record of that kind each."""
    return re.split(rf"^{kind} #\d+$", text, flags=re.MULTILINE)[1:]


def field(part: str, name: str) -> str:
    """Return the first value of that name in a part."""
    found = re.search(rf"^\W*{name} *: (\S*)$", part, flags=re.MULTILINE)
    assert found, f"no {name} in {part}"
    return found[1]
