"""The collector's configurations under deploy/ hang together, and a real OpenTelemetry Collector (``$OTELCOL``) takes them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parent.parent / "deploy"
FILES = ("agent.yaml", "gateway.yaml")
VARIABLES = {
    "GATEWAY_HOST": "gateway.example",
    "BACKEND_ENDPOINT": "backend.example:4317",
    "BACKEND_INSECURE": "true",
    "BACKEND_KEY": "key",
}
each_file = pytest.mark.parametrize("name", FILES)


def load(name: str) -> dict[str, Any]:
    """The configuration, parsed."""
    return dict(yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8")))


@each_file
def test_pipelines_use_exactly_what_is_defined(name: str) -> None:
    """A part that is defined and in no pipeline does nothing; one that is missing stops the collector."""
    config = load(name)
    for kind in ("receivers", "processors", "exporters"):
        used = {
            part
            for pipeline in config["service"]["pipelines"].values()
            for part in pipeline.get(kind, [])
        }
        assert used == set(config[kind]), kind


def test_agents_hand_each_trace_whole_to_a_gateway_that_keeps_what_matters() -> None:
    """Routed by trace id, to the port where the gateway listens; errors, slow ones and a tenth are kept."""
    exporter = load("agent.yaml")["exporters"]["loadbalancing"]
    gateway = load("gateway.yaml")
    assert exporter["routing_key"] == "traceID"
    assert gateway["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].endswith(
        ":" + exporter["resolver"]["dns"]["port"]
    )
    policies = {
        policy["type"]: policy
        for policy in gateway["processors"]["tail_sampling"]["policies"]
    }
    assert set(policies) == {"status_code", "latency", "probabilistic"}
    assert policies["status_code"]["status_code"]["status_codes"] == ["ERROR"]
    assert policies["probabilistic"]["probabilistic"]["sampling_percentage"] == 10


def without_contrib(config: dict[str, Any]) -> dict[str, Any]:
    """Take out the two parts that only the contrib distribution has, putting in what stands inside or around them."""
    config["processors"].pop("tail_sampling", None)
    balancing = config["exporters"].pop("loadbalancing", None)
    if balancing:
        config["exporters"]["otlp"] = {
            "endpoint": "${env:GATEWAY_HOST}:4317",
            **balancing["protocol"]["otlp"],
        }
    for pipeline in config["service"]["pipelines"].values():
        pipeline["processors"] = [
            part for part in pipeline["processors"] if part != "tail_sampling"
        ]
        pipeline["exporters"] = [
            "otlp" if part == "loadbalancing" else part
            for part in pipeline["exporters"]
        ]
    return config


@each_file
def test_the_real_collector_takes_it(name: str, tmp_path: Path) -> None:
    """``validate`` knows every key of every part, but for the two that the core distribution lacks."""
    if "OTELCOL" not in os.environ:
        pytest.skip("no OpenTelemetry Collector: $OTELCOL names one")
    file = tmp_path / name
    file.write_text(yaml.safe_dump(without_contrib(load(name))), encoding="utf-8")
    command = [os.environ["OTELCOL"], "validate", f"--config={file}"]
    done = subprocess.run(
        command,
        env={**os.environ, **VARIABLES},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_is_explained() -> None:
    """Those of the files are those of the page's table."""
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in VARIABLES)
    text = "".join((DEPLOY / name).read_text(encoding="utf-8") for name in FILES)
    assert {re.split("[}:]", part)[0] for part in text.split("${env:")[1:]} == set(
        VARIABLES
    )
