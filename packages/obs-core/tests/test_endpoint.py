"""Every way people write the address of a collector."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obs_core import TracingConfig
from obs_core._config.endpoint import Endpoint, parse_endpoint
from obs_core._config.settings import resolve
from obs_core.exceptions import ConfigurationError

GRPC, HTTP = "grpc", "http"
CASES = [
    ("host:4317", None, Endpoint(GRPC, "host:4317", True)),
    ("host", None, Endpoint(GRPC, "host:4317", True)),
    ("host", HTTP, Endpoint(HTTP, "http://host:4318/v1/traces", True)),
    ("http://host:4317", None, Endpoint(GRPC, "host:4317", True)),
    ("HTTP://Host:4317/", None, Endpoint(GRPC, "host:4317", True)),
    ("https://host", None, Endpoint(GRPC, "host:443", False)),
    ("https://host:4317", None, Endpoint(GRPC, "host:4317", False)),
    ("http://host:4318", None, Endpoint(HTTP, "http://host:4318/v1/traces", True)),
    ("host:4318", None, Endpoint(HTTP, "http://host:4318/v1/traces", True)),
    ("http://host:4318/", None, Endpoint(HTTP, "http://host:4318/v1/traces", True)),
    (
        "http://host:4318/v1/traces",
        None,
        Endpoint(HTTP, "http://host:4318/v1/traces", True),
    ),
    (
        "http://host:4318//v1/traces",
        None,
        Endpoint(HTTP, "http://host:4318/v1/traces", True),
    ),
    (
        "http://host:4318/otlp//",
        None,
        Endpoint(HTTP, "http://host:4318/otlp/v1/traces", True),
    ),
    ("http://host:4317//", None, Endpoint(GRPC, "host:4317", True)),
    (
        "https://host/otlp",
        HTTP,
        Endpoint(HTTP, "https://host:443/otlp/v1/traces", False),
    ),
    (
        "https://host/otlp/v1/traces?x=1",
        None,
        Endpoint(HTTP, "https://host:443/otlp/v1/traces?x=1", False),
    ),
    (
        "http://me:pw@host:4318",
        None,
        Endpoint(HTTP, "http://me:pw@host:4318/v1/traces", True),
    ),
    ("http://[::1]:4317", None, Endpoint(GRPC, "[::1]:4317", True)),
    ("http://[::1]", HTTP, Endpoint(HTTP, "http://[::1]:4318/v1/traces", True)),
    ("http://host:9999", None, Endpoint(GRPC, "host:9999", True)),
    ("http://host:9999", HTTP, Endpoint(HTTP, "http://host:9999/v1/traces", True)),
]


@pytest.mark.promise("CORE-05")
@pytest.mark.parametrize(("url", "protocol", "endpoint"), CASES)
def test_endpoints_mean_what_the_writer_meant(
    url: str, protocol, endpoint: Endpoint
) -> None:
    """From code and from the environment alike."""
    assert parse_endpoint(url, protocol) == endpoint
    assert (
        resolve(
            TracingConfig(
                service_name="s", collector_url=url, collector_protocol=protocol
            ),
            {},
        ).endpoint
        == endpoint
    )
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        **({"OTEL_EXPORTER_OTLP_PROTOCOL": protocol} if protocol else {}),
    }
    settings = resolve(TracingConfig(service_name="s"), env)
    assert (settings.endpoint, settings.problems) == (endpoint, ())


@pytest.mark.promise("CORE-05")
def test_the_traces_endpoint_of_the_environment_is_taken_whole() -> None:
    """The specification appends nothing to it; without a path there is nothing to take."""
    for url, target in (
        ("http://h:4318/custom", "http://h:4318/custom"),
        ("http://h:4318", "http://h:4318/v1/traces"),
    ):
        settings = resolve(
            TracingConfig(service_name="s"), {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": url}
        )
        assert settings.endpoint.target == target


@pytest.mark.promise("CORE-05", "CORE-09")
@pytest.mark.parametrize(
    ("url", "protocol", "fix"),
    [
        ("http://host:4318", GRPC, "use port 4317, or collector_protocol='http'"),
        ("http://host:4317", HTTP, "use port 4318, or collector_protocol='grpc'"),
        ("http://host:4317/v1/traces", None, "use port 4318, or drop the path"),
        (
            "http://host/v1/traces",
            GRPC,
            "drop the path, or use collector_protocol='http'",
        ),
        (
            "ftp://host",
            None,
            "use http:// (plain text) or https:// (TLS), for grpc too",
        ),
        ("http://", None, "names no host"),
        ("http://host:0", None, "port 0"),
        ("http://host:99999", None, "no number from 1 to 65535"),
        ("http://host:port", None, "no number from 1 to 65535"),
        ("http://ho st", None, "white space"),
        ("http://[::1", None, "not a URL"),
    ],
)
def test_wrong_endpoints_raise_with_the_fix(url: str, protocol, fix: str) -> None:
    """At once, where it is written; the password is not in the message."""
    with pytest.raises(ConfigurationError) as caught:
        TracingConfig(service_name="s", collector_url=url, collector_protocol=protocol)
    assert fix in str(caught.value)


def test_messages_hide_credentials() -> None:
    """A wrong URL is often pasted into a ticket."""
    with pytest.raises(ConfigurationError) as caught:
        TracingConfig(
            service_name="s",
            collector_url="http://me:hunter2@host:4318",
            collector_protocol="grpc",
        )
    assert "hunter2" not in str(caught.value)


@pytest.mark.promise("CORE-05")
@given(st.text(), st.sampled_from([None, GRPC, HTTP]))
def test_any_text_is_an_endpoint_or_a_clear_error(text: str, protocol) -> None:
    """Nothing else is raised, and what comes out has a host and a port."""
    try:
        endpoint = parse_endpoint(text, protocol)
    except ConfigurationError:
        return
    assert endpoint.target.partition("/")[0 if endpoint.protocol == GRPC else 2]
    assert protocol in (None, endpoint.protocol)
