"""What ``opentelemetry-instrument`` and `setup_tracing(instrument="auto")` find."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec

import pytest
from obs_core.testing import OtlpSink

SERVICE = """
import asyncio, httpx
from fastapi import FastAPI
from obs_core import TracingConfig, setup_tracing
manager, _ = setup_tracing(TracingConfig(service_name="shop"))
app = FastAPI()

@app.get("/items/{item_id}")
async def item(item_id: int):
    return item_id

async def ask():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        await client.get("/items/7")

asyncio.run(ask())
manager.shutdown()
"""


def test_the_entry_points_load() -> None:
    """Each one of the package, in all three groups."""
    for group in (
        "obs_core.instrumentors",
        "obs_core.asgi_middleware",
        "opentelemetry_instrumentor",
    ):
        ours = [
            found
            for found in entry_points(group=group)
            if found.value.startswith("obs_http")
        ]
        assert ours, group
        assert all(callable(found.load()) for found in ours)


def test_opentelemetry_instrumentation_need_not_be_installed() -> None:
    """Everything works on the API alone; the entry points of the tool as well."""
    code = """
import sys
sys.modules["opentelemetry.instrumentation"] = None
import requests
from obs_core.testing import record_spans
from obs_http import instrument_fastapi, instrument_httpx
from obs_http._otel import RequestsInstrumentor
instrument_fastapi(), instrument_httpx(), RequestsInstrumentor().instrument()
with record_spans() as spans:
    try:
        requests.get("http://127.0.0.1:9/")
    except requests.ConnectionError:
        pass
    assert [span.name for span in spans] == ["GET"], spans
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


@pytest.mark.timeout(300)  # the tool imports every instrumentation there is, twice over
@pytest.mark.promise("HTTP-01", "HTTP-08", "HTTP-13")
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_opentelemetry_instrument_needs_no_code(
    library: str, otlp_sink: OtlpSink
) -> None:
    """A service that sets up export alone, started by the tool: client and server span, one trace."""
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": otlp_sink.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "asgi,fastapi,httpx,httpx2,requests",
    }
    if find_spec(library) is None:
        pytest.skip("httpx2 needs Python 3.11")
    service = SERVICE.replace("httpx", library)
    tool = [
        sys.executable,
        "-c",
        "from opentelemetry.instrumentation.auto_instrumentation import run; run()",
    ]
    subprocess.run(
        [*tool, sys.executable, "-c", service], env=environment, check=True, timeout=240
    )
    received = otlp_sink.wait_for(
        lambda spans: {"SERVER", "CLIENT"} <= {span.kind for span in spans}
    )
    # where opentelemetry-distro is installed too, the tool sets up an exporter of its own beside the service's
    spans = list({span.span_id: span for span in received}.values())
    assert [span.name for span in spans if span.kind == "SERVER"] == [
        "GET /items/{item_id}"
    ]
    assert [span.name for span in spans if span.kind == "CLIENT"] == ["GET"]
    assert len({span.trace_id for span in spans}) == 1
