"""What importing obs_core, and decorating with it, loads: the API of OpenTelemetry, and nothing that a set-up would need."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Import names that cost more than all of obs_core: exporters, gRPC, protobuf, requests, the SDK, the frameworks.
HEAVY = {
    "opentelemetry.sdk",
    "opentelemetry.exporter",
    "opentelemetry.proto",
    "opentelemetry.instrumentation",
    "google.protobuf",
    *("grpc", "requests", "urllib3", "ssl", "asyncio", "packaging"),
    *("fastapi", "starlette", "celery", "sqlalchemy", "redis", "botocore", "httpx"),
}


@pytest.mark.promise("CORE-123")
@pytest.mark.parametrize(
    "program",
    [
        "import obs_core",
        "import obs_core\n@obs_core.trace_function\ndef work(): ...\nwork()",
        "import obs_core\nwith obs_core.correlation_scope(): ...",
        "import obs_core\nobs_core.TracingConfig(service_name='s')",
    ],
)
def test_loads_no_exporter_and_no_sdk(program: str) -> None:
    """In a fresh interpreter; a set-up loads the SDK, and of the exporters the one that the settings ask for."""
    show = f"{program}\nimport sys\nprint(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", show], text=True).split()
    assert HEAVY.intersection(loaded) == set()


@pytest.mark.promise("CORE-123")
def test_integrations_load_the_sdk_and_no_exporter() -> None:
    """`obs_core.integration` knows the SDK's spans, and nothing that talks to a network."""
    show = "import obs_core.integration, sys\nprint(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", show], text=True).split()
    assert HEAVY.intersection(loaded) <= {"opentelemetry.sdk"}


@pytest.mark.promise("CORE-123")
@pytest.mark.parametrize(
    ("protocol", "other"), [("grpc", "requests"), ("http", "grpc")]
)
def test_a_set_up_loads_one_exporter(protocol: str, other: str) -> None:
    """GRPC without requests, HTTP without gRPC."""
    program = (
        "import sys\nfrom obs_core import TracingConfig, setup_tracing\n"
        f"setup_tracing(TracingConfig(service_name='s', collector_url='localhost', collector_protocol={protocol!r}))\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert other not in loaded


@pytest.mark.promise("CORE-123")
def test_without_an_exporter_a_set_up_loads_none() -> None:
    """`OTEL_TRACES_EXPORTER=none`, as in tests."""
    program = (
        "import os, sys\nos.environ['OTEL_TRACES_EXPORTER'] = 'none'\n"
        "from obs_core import TracingConfig, setup_tracing\n"
        "setup_tracing(TracingConfig(service_name='s'))\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert {"grpc", "requests", "google.protobuf"}.isdisjoint(loaded)
