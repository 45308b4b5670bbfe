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


def loaded(program: str) -> set[str]:
    """Return the heavy modules that `program` loads in a fresh interpreter."""
    show = f"{program}\nimport sys\nprint(*sys.modules)"
    names = subprocess.check_output([sys.executable, "-c", show], text=True).split()
    return HEAVY.intersection(names)


@pytest.fixture(scope="module")
def of_the_api() -> set[str]:
    """What the API loads by itself: that of 1.28 loads asyncio, and so ssl."""
    return loaded("import opentelemetry.baggage, opentelemetry.trace")


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
def test_loads_no_exporter_and_no_sdk(program: str, of_the_api: set[str]) -> None:
    """In a fresh interpreter; a set-up loads the SDK, and of the exporters the one that the settings ask for."""
    assert loaded(program) - of_the_api == set()


@pytest.mark.promise("CORE-123")
def test_integrations_load_the_sdk_and_no_exporter(of_the_api: set[str]) -> None:
    """`obs_core.integration` knows the SDK's spans, and nothing that talks to a network."""
    found = loaded("import obs_core.integration")
    assert found - of_the_api <= {"opentelemetry.sdk"}


@pytest.mark.promise("CORE-123")
@pytest.mark.parametrize(
    ("protocol", "other"), [("grpc", "requests"), ("http", "grpc")]
)
def test_a_set_up_loads_one_exporter(protocol: str, other: str) -> None:
    """GRPC without requests, HTTP without gRPC."""
    program = (
        "from obs_core import TracingConfig, setup_tracing\n"
        f"setup_tracing(TracingConfig(service_name='s', collector_url='localhost', collector_protocol={protocol!r}))\n"
    )
    assert other not in loaded(program)


@pytest.mark.promise("CORE-123")
def test_without_an_exporter_a_set_up_loads_none() -> None:
    """`OTEL_TRACES_EXPORTER=none`, as in tests."""
    program = (
        "import os\nos.environ['OTEL_TRACES_EXPORTER'] = 'none'\n"
        "from obs_core import TracingConfig, setup_tracing\n"
        "setup_tracing(TracingConfig(service_name='s'))\n"
    )
    assert {"grpc", "requests", "google.protobuf"}.isdisjoint(loaded(program))
