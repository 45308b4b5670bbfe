"""The agent and the gateway of deploy/, as real Collectors (``$OTELCOL``), are restarted in the middle of traffic."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from obs_core.testing import wait_until

from tests.faults.processes import Process, start_service
from tests.faults.service import Load
from tests.services import free_port, wait_for_port
from tests.test_docs_deploy import load, without_contrib

RATE, PATIENCE_S = 300.0, 60.0
PROTOCOLS = ("grpc", "http")


class Collector:
    """One of the two, with ports of its own in place of those of the file."""

    def __init__(self, folder: Path, name: str, **variables: str) -> None:
        config = without_contrib(load(name))
        receiver = config["receivers"]["otlp"]["protocols"]
        self.ports = {protocol: free_port() for protocol in receiver}
        for protocol, port in self.ports.items():
            receiver[protocol]["endpoint"] = f"127.0.0.1:{port}"
        config["service"]["telemetry"] = {"metrics": {"level": "none"}}
        self._log = folder / f"{name}.log"
        self._file = folder / name
        self._variables = variables
        self._config: dict[str, Any] = config
        self._process: subprocess.Popen[bytes] | None = None

    def export_to(self, port: int) -> None:
        """Take the place of the address that the file has, which is another port of the same host."""
        self._config["exporters"]["otlp"]["endpoint"] = f"127.0.0.1:{port}"

    def start(self) -> None:
        """Start, and wait until it listens."""
        self._file.write_text(yaml.safe_dump(self._config), encoding="utf-8")
        command = [os.environ["OTELCOL"], f"--config={self._file}"]
        environment = {**os.environ, **self._variables}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log
            )
        for port in self.ports.values():
            wait_for_port(port, PATIENCE_S)

    def stop(self) -> None:
        """End it as an orchestrator does, and wait."""
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(PATIENCE_S) == 0, self._log.read_text()
            self._process = None


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends what was started."""
    if "OTELCOL" not in os.environ:
        pytest.skip("no OpenTelemetry Collector: $OTELCOL names one")
    with ExitStack() as found:
        yield found


@pytest.mark.soak
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_restarts_under_traffic_lose_nothing(
    protocol: str, stack: ExitStack, tmp_path: Path
) -> None:
    """300 spans a second go through both; each is stopped and started again; all arrive, and none is counted as lost."""
    port = free_port()
    backend = Process(stack, "collector", "grpc", str(port))
    wait_for_port(port, PATIENCE_S)
    secrets = {"BACKEND_INSECURE": "true", "BACKEND_KEY": "key"}
    gateway = Collector(tmp_path, "gateway.yaml", **secrets)
    gateway.export_to(port)
    agent = Collector(tmp_path, "agent.yaml")
    agent.export_to(gateway.ports["grpc"])
    for collector in (gateway, agent):
        stack.callback(collector.stop)
        collector.start()
    options = {
        "collector_url": f"http://127.0.0.1:{agent.ports[protocol]}",
        "collector_protocol": protocol,
        "schedule_delay_s": 0.2,
        "exit_timeout_s": 20.0,
        "spool_dir": str(tmp_path / "spool"),
    }
    service = start_service(stack, Load(RATE, options))
    for collector in (agent, gateway):
        _wait_for_more(backend, RATE)
        collector.stop()
        _wait_for_more(service, RATE)
        collector.start()
    _wait_for_more(backend, RATE)
    service.end(signal.SIGTERM)
    made = _names(service)
    wait_until(lambda: made <= _names(backend), PATIENCE_S)


def _names(process: Process) -> set[str]:
    return {line for line in list(process.lines) if line[:1].isdigit()}


def _wait_for_more(process: Process, count: float) -> None:
    enough = len(_names(process)) + count
    wait_until(lambda: len(_names(process)) >= enough, PATIENCE_S)
