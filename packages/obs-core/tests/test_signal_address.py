"""Logs and metrics go where spans go, unless the environment says where."""

from __future__ import annotations

import pytest
from obs_core import TracingConfig
from obs_core._config.settings import Settings, resolve

TRACES, LOGS = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"
ALL, PROTOCOL = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"


def settings(environ: dict[str, str], **arguments: str) -> Settings:
    return resolve(TracingConfig(service_name="s", **arguments), environ)


@pytest.mark.promise("CORE-95")
@pytest.mark.parametrize(
    ("environ", "target"),
    [
        ({}, "localhost:4317"),
        ({ALL: "http://c:4318"}, "http://c:4318/v1/logs"),
        ({ALL: "http://c:4318/otlp"}, "http://c:4318/otlp/v1/logs"),
        ({TRACES: "http://c:4318/v1/traces"}, "http://c:4318/v1/logs"),
        ({TRACES: "http://c:4317"}, "c:4317"),
        ({TRACES: "http://c:4318/v1/traces", LOGS: "http://l:4318/in"}, "http://l:4318/in"),
        ({ALL: "http://c:4317", LOGS: "http://l:4318"}, "http://l:4318/v1/logs"),
        ({"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/protobuf"}, "http://localhost:4318/v1/logs"),
        ({PROTOCOL: "http/protobuf", LOGS: "http://l:9000"}, "http://l:9000/v1/logs"),
        ({PROTOCOL: "http/protobuf", LOGS: "http://l:4317"}, "l:4317"),
        ({PROTOCOL: "grpc", LOGS: "http://l:4318"}, "http://l:4318/v1/logs"),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf", LOGS: "http://l:9000"}, "l:9000"),
    ],
)  # fmt: skip
def test_where_the_environment_sends_log_records(
    environ: dict[str, str], target: str
) -> None:
    """A signal's own address is taken whole, the common one gets the signal's path."""
    found = settings(environ)
    assert (found.endpoint_of("logs").target, found.problems) == (target, ())


@pytest.mark.promise("CORE-95")
@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("c", "c:4317"),
        ("http://c:4318", "http://c:4318/v1/logs"),
        ("http://c:4318/v1/traces", "http://c:4318/v1/logs"),
        ("https://gateway/otlp", "https://gateway:443/otlp/v1/logs"),
    ],
)
def test_the_argument_says_where_everything_goes(url: str, target: str) -> None:
    """As for spans, an argument is stronger than a variable, headers too."""
    environ = {LOGS: "http://l:4318", "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "k=v"}
    found = settings(environ, collector_url=url)
    assert found.endpoint_of("logs").target == target
    assert found.headers_of("logs") == {}


@pytest.mark.promise("CORE-95")
def test_an_address_that_contradicts_its_protocol_is_left_out() -> None:
    """With a line that says so; spans are not affected."""
    environ = {
        ALL: "http://c:4317",
        LOGS: "http://l:4317",
        "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/protobuf",
    }
    found = settings(environ)
    assert found.endpoint_of("logs").target == "c:4317"
    (problem,) = found.problems
    assert "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT" in problem
    assert "use port 4318" in problem
