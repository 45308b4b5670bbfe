"""Spans pass through the real OpenTelemetry Collector (``$OTELCOL``) over both protocols."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from obs_core.testing import OtlpSink

from tests.services import free_port, wait_for_port

CONFIG = """
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}}}
exporters:
  otlp_http: {{traces_endpoint: "{sink}", compression: gzip, sending_queue: {{enabled: false}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], exporters: [otlp_http]}}}}
"""

SERVICE = """
from obs_core import TracingConfig, correlation_scope, setup_tracing
from opentelemetry import trace

setup_tracing(TracingConfig(service_name="orders"))
with correlation_scope("c-1"), trace.get_tracer("test").start_as_current_span("order"):
    pass
"""


@pytest.fixture
def collector(tmp_path: Path, otlp_sink: OtlpSink) -> Iterator[dict[str, int]]:
    """A running collector that hands everything to the sink; its ports by protocol."""
    if "OTELCOL" not in os.environ:
        pytest.skip("OTELCOL names no OpenTelemetry Collector")
    ports = {"grpc": free_port(), "http": free_port()}
    config = tmp_path / "collector.yaml"
    config.write_text(CONFIG.format(**ports, sink=otlp_sink.url))
    process = subprocess.Popen([os.environ["OTELCOL"], "--config", str(config)])
    try:
        for port in ports.values():
            wait_for_port(port)
        yield ports
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_span_arrives_through_the_collector(
    protocol: str, collector: dict[str, int], otlp_sink: OtlpSink
) -> None:
    """A short-lived process's span is there when it has exited, whole."""
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector[protocol]}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
    }
    subprocess.run(
        [sys.executable, "-c", SERVICE], env=environment, check=True, timeout=30
    )
    (span,) = otlp_sink.wait_for(1)
    assert (span.name, span.service, span.kind, span.status) == (
        "order",
        "orders",
        "INTERNAL",
        "UNSET",
    )
    assert span.attributes == {"correlation_id": "c-1"}
