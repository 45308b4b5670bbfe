"""Every exporter over gRPC, whoever encodes, has its request under way where a fork looks for it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from obs_core import TracingConfig
from obs_core._config.settings import resolve
from obs_core._export import grpc_at_fork
from obs_core._export.exporters import build_exporter
from obs_core._export.signals import LOGS, METRICS, TRACES, Signal, is_success
from opentelemetry.sdk.metrics.export import MetricsData

pytestmark = pytest.mark.promise("CORE-24")
SERVICES = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}


class Collector(grpc.GenericRpcHandler):
    """Takes everything, and notes for each request how many are under way in this process."""

    def __init__(self) -> None:
        self.under_way: list[tuple[str, int]] = []

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        service = handler_call_details.method.split("/")[1]
        return grpc.unary_unary_rpc_method_handler(lambda *_: self._take(service))

    def _take(self, service: str) -> bytes:
        found = len(grpc_at_fork._requests._under_way)
        self.under_way.append((service, found))
        return b""


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    """A server on a free loopback port, and its URL."""
    handler = Collector()
    server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, f"http://127.0.0.1:{port}"
    server.stop(None).wait(5)


@pytest.mark.parametrize("spans", ["light", "sdk"])
@pytest.mark.parametrize(
    ("signal", "batch"),
    [
        pytest.param(TRACES, [], id="traces"),
        pytest.param(LOGS, [], id="logs"),
        pytest.param(METRICS, MetricsData([]), id="metrics"),
    ],
)
def test_a_request_is_under_way(
    collector: tuple[Collector, str], signal: Signal, batch: Any, spans: str
) -> None:
    """While the collector has it, and not afterwards."""
    handler, url = collector
    config = TracingConfig(
        service_name="s",
        collector_url=url,
        collector_protocol="grpc",
        logs=True,
        metrics=True,
    )
    exporter = build_exporter(resolve(config, {"OBS_CORE_SPANS": spans}), signal)
    assert is_success(exporter.export(batch))
    exporter.shutdown()
    assert handler.under_way == [(SERVICES[signal.name], 1)]
    assert not grpc_at_fork._requests._under_way
