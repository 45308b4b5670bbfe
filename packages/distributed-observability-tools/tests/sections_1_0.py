"""What the README of 1.0.0 shows, section by section, as scripts; run this file to print the table section → works."""

from __future__ import annotations

import os
import subprocess
import sys

_SERVE = """
from starlette.testclient import TestClient
with TestClient(app) as http:
    response = http.get("/orders", headers={"x-correlation-id": "c-1", "x-tenant-id": "t-1"})
assert response.status_code == 200, response.text
assert response.headers["X-Correlation-ID"] == "c-1"
assert response.headers["X-Service-Name"] and float(response.headers["X-Processing-Time"]) >= 0
"""

SECTIONS = {
    "Basic usage; setup_tracing()": """
from distributed_observability import TracingConfig, setup_tracing
config = TracingConfig(service_name="my-service", collector_url="http://localhost:4317")
tracer_manager, middleware = setup_tracing(config)
""",
    "Quick start: setup_tracing with app, FastAPIConfig": """
from distributed_observability import FastAPIConfig, TracingConfig, setup_tracing
from fastapi import FastAPI
config = TracingConfig(service_name="my-service", collector_url="http://localhost:4317")
fastapi_config = FastAPIConfig(capture_request_headers=["x-correlation-id", "user-agent"])
app = FastAPI()
tracer_manager, middleware = setup_tracing(config, app=app, fastapi_config=fastapi_config)
middleware_class, middleware_kwargs = middleware
app.add_middleware(middleware_class, **middleware_kwargs)
app.get("/orders")(lambda: "ok")
"""
    + _SERVE,
    "Manual instrumentation": """
from distributed_observability import FastAPIConfig, TracingConfig, setup_tracing
from distributed_observability.tracing.tracer import instrument_fastapi_app
from fastapi import FastAPI
config = TracingConfig(service_name="my-service")
tracer_manager, middleware = setup_tracing(config)
app = FastAPI()
fastapi_config = FastAPIConfig()
instrument_fastapi_app(app, config, fastapi_config)
middleware_class, middleware_kwargs = middleware
app.add_middleware(middleware_class, **middleware_kwargs)
app.get("/orders")(lambda: "ok")
"""
    + _SERVE,
    "Advanced configuration": """
from distributed_observability import CorrelationConfig, TracingConfig, setup_tracing
from distributed_observability.core import FastAPIConfig
from distributed_observability.framework import RequestTracingMiddleware
from fastapi import FastAPI
config = TracingConfig(
    service_name="my-service",
    service_version="1.2.3",
    collector_url="http://localhost:4317",
    sampling_rate=0.1,
    correlation=CorrelationConfig(headers=["x-correlation-id", "x-request-id"], propagation=True),
    environment="production",
)
fastapi_config = FastAPIConfig(enable_middleware=True, record_exceptions=True)
app = FastAPI()
app.add_middleware(RequestTracingMiddleware, tracing_config=config, fastapi_config=fastapi_config)
app.get("/orders")(lambda: "ok")
"""
    + _SERVE.replace('"X-Correlation-ID"', '"x-correlation-id"'),
    "Custom HTTP header capture": """
from distributed_observability import FastAPIConfig, TracingConfig, setup_tracing
from distributed_observability.tracing.tracer import instrument_fastapi_app
from fastapi import FastAPI
tracing_config = TracingConfig(service_name="my-service", collector_url="http://localhost:4317")
fastapi_config = FastAPIConfig(
    enable_middleware=True,
    capture_request_headers=["x-correlation-id", "x-request-id", "user-agent", "x-tenant-id", "x-user-role"],
    redact_headers=["authorization", "cookie", "x-api-key"],
    header_patterns=["x-*", "*-id", "cf-*"],
)
tracer_manager, middleware_config = setup_tracing(tracing_config)
middleware_class, middleware_kwargs = middleware_config
middleware_kwargs["fastapi_config"] = fastapi_config
app = FastAPI()
app.add_middleware(middleware_class, **middleware_kwargs)
instrument_fastapi_app(app, tracing_config, fastapi_config)
app.get("/orders")(lambda: "ok")
"""
    + _SERVE,
    "TracingConfig": """
from distributed_observability import TracingConfig
config = TracingConfig(
    service_name="my-service",
    collector_url="http://localhost:4317",
    collector_protocol="grpc",
    sampling_rate=1.0,
    environment="development",
    resource_attributes={"team": "backend"},
)
assert config.service_name == "my-service" and config.sampling_rate == 1.0
""",
    "CorrelationConfig": """
from distributed_observability.core import CorrelationConfig
correlation = CorrelationConfig(headers=["x-correlation-id", "x-request-id"], propagation=True, generate_id=True)
""",
    "Default configuration of FastAPIConfig": """
from distributed_observability import FastAPIConfig
config = FastAPIConfig()
assert list(config.capture_request_headers) == [
    "x-correlation-id", "x-request-id", "correlation-id", "user-agent",
    "x-forwarded-for", "x-real-ip", "x-edge-location", "x-amz-cf-id",
]
assert list(config.redact_headers) == ["authorization", "cookie", "x-api-key", "api-key"]
assert list(config.header_patterns) == []
""",
    "FastAPIConfig": """
from distributed_observability import FastAPIConfig, TracingConfig, setup_tracing
from fastapi import FastAPI
fastapi_config = FastAPIConfig(
    enable_middleware=True,
    record_exceptions=True,
    capture_request_headers=["x-correlation-id", "x-request-id", "user-agent", "x-tenant-id", "x-user-role"],
    redact_headers=["authorization", "cookie", "x-api-key"],
    header_patterns=["x-*", "*-id", "cf-*"],
)
app = FastAPI()
setup_tracing(TracingConfig(service_name="my-service"), app=app, fastapi_config=fastapi_config)
app.get("/orders")(lambda: "ok")
"""
    + _SERVE,
    "HTTPClientConfig": """
from distributed_observability import HTTPClientConfig
http_config = HTTPClientConfig(
    enable_httpx=True,
    capture_headers=["x-correlation-id", "x-request-id", "user-agent", "content-type"],
    redact_headers=["authorization", "cookie", "x-api-key"],
    header_patterns=["x-*"],
)
assert http_config.should_capture_header("X-Tenant") and http_config.should_redact_header("Cookie")
""",
    "Framework integration": """
from distributed_observability import FastAPIConfig, TracingConfig, setup_tracing
from distributed_observability.framework.fastapi import RequestTracingMiddleware
from fastapi import FastAPI
config = TracingConfig(service_name="my-service")
tracer_manager, middleware = setup_tracing(config)
app = FastAPI()
app.add_middleware(RequestTracingMiddleware, tracing_config=config, fastapi_config=FastAPIConfig())
app.get("/orders")(lambda: "ok")
"""
    + _SERVE,
    "HTTP client instrumentation": """
import asyncio
from distributed_observability import HTTPClientConfig
from distributed_observability.utils import instrument_httpx_client
import httpx
http_config = HTTPClientConfig(
    enable_httpx=True,
    capture_headers=["x-correlation-id", "x-request-id", "user-agent"],
    redact_headers=["authorization", "cookie"],
    header_patterns=["x-*"],
)
async def main():
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    client = instrument_httpx_client(httpx.AsyncClient(transport=transport))
    response = await client.get("http://api.example.com/users")
    assert response.status_code == 200
asyncio.run(main())
instrument_httpx_client()
""",
    "FastAPI service: add_middleware(middleware)": """
from distributed_observability import TracingConfig, setup_tracing
from distributed_observability.framework.fastapi import get_current_correlation_id
from fastapi import FastAPI, Request
config = TracingConfig(service_name="order-service")
tracer_manager, middleware = setup_tracing(config)
app = FastAPI()
app.add_middleware(middleware)
@app.get("/orders")
async def get_orders(request: Request):
    return {"orders": [], "correlation_id": get_current_correlation_id()}
"""
    + _SERVE
    + 'assert response.json()["correlation_id"] == "c-1"\n',
    "add_middleware(*middleware_config), as the user's document has it": """
from distributed_observability import TracingConfig, setup_tracing
from fastapi import FastAPI
tracer_manager, middleware_config = setup_tracing(TracingConfig(service_name="my-service", sampling_rate=0.1))
app = FastAPI()
app.add_middleware(*middleware_config)
app.get("/orders")(lambda: "ok")
"""
    + _SERVE,
    "Inter-service communication: patch_httpx": """
import asyncio
import httpx
from distributed_observability.utils import CorrelatedClient, patch_httpx
from obs_core import correlation_scope
patch_httpx()
def answer(request):
    assert request.headers["x-correlation-id"] == "c-1"
    return httpx.Response(200)
async def main():
    with correlation_scope("c-1"):
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            response = await client.get("http://inventory-service/api/items")
        assert response.status_code == 200
asyncio.run(main())
""",
    "Inter-service communication: an explicit correlated client": """
import asyncio
import httpx
from distributed_observability.utils import instrument_httpx_client
from obs_core import correlation_scope
def answer(request):
    assert request.headers["x-correlation-id"] == "c-1"
    return httpx.Response(201)
async def main():
    with correlation_scope("c-1"):
        client = instrument_httpx_client(httpx.AsyncClient(transport=httpx.MockTransport(answer)))
        response = await client.post("http://user-service/api/users", json={"name": "John"})
        assert response.status_code == 201
asyncio.run(main())
""",
    "TracingConfig options: all of them": """
from distributed_observability import CorrelationConfig, TracingConfig, setup_tracing
setup_tracing(TracingConfig(
    service_name="required-service-name",
    service_version="1.0.0",
    collector_url="http://localhost:4317",
    collector_protocol="grpc",
    sampling_rate=1.0,
    correlation=CorrelationConfig(),
    environment="development",
    resource_attributes={"team": "backend"},
))
""",
    "Environment variables": """
import os
os.environ.update(
    SERVICE_NAME="my-service", SERVICE_VERSION="1.0.0", OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf", SAMPLING_RATE="1.0",
    ENVIRONMENT="production", CORRELATION_HEADERS="x-correlation-id,x-request-id",
)
from distributed_observability import setup_tracing
from distributed_observability.core import ObservabilityConfig
settings = setup_tracing(ObservabilityConfig.from_env().tracing)[0].settings
assert (settings.service_name, settings.service_version, settings.environment) == ("my-service", "1.0.0", "production")
assert settings.sampling_rate == 1.0
assert list(settings.correlation.headers) == ["x-correlation-id", "x-request-id"]
""",
    "Environment configuration": """
from distributed_observability import setup_tracing
from distributed_observability.core import ObservabilityConfig
config = ObservabilityConfig.from_env()
runner = setup_tracing(config.tracing)
settings = runner[0].settings
assert (settings.service_name, settings.environment, settings.sampling_rate) == ("my-microservice", "production", 0.1)
""",
}
ENVIRONMENT = {
    "SERVICE_NAME": "my-microservice",
    "ENVIRONMENT": "production",
    "SAMPLING_RATE": "0.1",
}


def run(code: str, collector_url: str) -> subprocess.CompletedProcess[str]:
    """Run a section as a script of its own, its spans going to `collector_url`."""
    # the README's own address, which nothing answers at, would make each script wait for its exit deadline
    if "collector_protocol" not in code:
        code = code.replace("http://localhost:4317", collector_url)
    environment = {
        **os.environ,
        **(ENVIRONMENT if "from_env" in code else {}),
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector_url,
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def main() -> int:
    """Print the table."""
    from obs_core.testing import OtlpSink

    failed = 0
    with OtlpSink() as sink:
        for section, code in SECTIONS.items():
            done = run(code, sink.url)
            failed += done.returncode
            print(
                f"{section:<70} {'works' if done.returncode == 0 else 'FAILS: ' + done.stderr.splitlines()[-1]}"
            )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
