"""Code written for 1.0.0 runs unchanged."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import distributed_observability
import httpx
import pytest
from distributed_observability import (
    FastAPIConfig,
    RequestTracingMiddleware,
    TracingConfig,
)
from distributed_observability.framework.fastapi import request_tracing_middleware
from fastapi import FastAPI, Request
from obs_core.testing import OtlpSink, SpanRecorder
from opentelemetry.trace import StatusCode
from starlette.testclient import TestClient


def load(name: str) -> ModuleType:
    """Import a file of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(
        name, Path(__file__).parent / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sections = load("sections_1_0")

NAMES = {
    "distributed_observability": "TracingConfig setup_tracing TracingManager trace_function add_span_attributes "
    "FastAPIConfig "
    "HTTPClientConfig match_header_pattern RequestTracingMiddleware instrument_celery instrument_sqlalchemy "
    "instrument_redis "
    "instrument_boto3 instrument_grpc_client instrument_grpc_server instrument_httpx_client CorrelationConfig",
    "distributed_observability.core": "TracingConfig CorrelationConfig FastAPIConfig HTTPClientConfig ObservabilityConfig",
    "distributed_observability.core.config": "TracingConfig CorrelationConfig FastAPIConfig match_header_pattern",
    "distributed_observability.tracing": "TracingConfig TracingManager setup_tracing trace_function add_span_attributes",
    "distributed_observability.tracing.tracer": "setup_tracing instrument_fastapi_app TracingManager",
    "distributed_observability.tracing.decorators": "trace_function add_span_attributes",
    "distributed_observability.framework": "RequestTracingMiddleware instrument_celery CeleryInstrumentor",
    "distributed_observability.framework.celery": "instrument_celery CeleryInstrumentor",
    "distributed_observability.framework.database": "instrument_sqlalchemy instrument_redis instrument_boto3",
    "distributed_observability.framework.grpc": "instrument_grpc_client instrument_grpc_server",
    "distributed_observability.framework.fastapi": "RequestTracingMiddleware get_current_correlation_id",
    "distributed_observability.utils": "CorrelatedClient patch_httpx instrument_httpx_client",
    "distributed_observability.utils.client": "CorrelatedClient instrument_httpx_client",
}

WITHOUT_EXTRAS = """
import sys

ABSENT = {"obs_celery", "obs_db", "obs_aws", "obs_grpc", "obs_http", "celery", "sqlalchemy", "redis"}
ABSENT |= {"boto3", "botocore", "grpc", "fastapi", "starlette", "httpx"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import distributed_observability as d
import distributed_observability.utils, distributed_observability.framework.grpc, distributed_observability.tracing.tracer

calls = {
    "celery": lambda: d.instrument_celery(object()),
    "database": lambda: d.instrument_sqlalchemy(object(), service_name="x"),
    "aws": lambda: d.instrument_boto3(),
    "grpc": lambda: d.instrument_grpc_client(object()),
    "fastapi": lambda: d.RequestTracingMiddleware(object()),
    "httpx": lambda: d.instrument_httpx_client(),
}
for extra, call in calls.items():
    try:
        call()
    except ImportError as error:
        assert "pip install '" in str(error) and f"distributed-observability-tools[{extra}]'" in str(error), (extra, error)
    else:
        raise AssertionError(extra)
manager, middleware = d.setup_tracing(d.TracingConfig(service_name="bare"))
"""


@pytest.mark.promise("OLD-01")
@pytest.mark.parametrize("module", NAMES)
def test_every_import_path_of_1_0_is_there(module: str) -> None:
    """The names that its README and its users import."""
    found = importlib.import_module(module)
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


@pytest.mark.promise("OLD-02", "OLD-04")
def test_the_version_is_the_installed_one() -> None:
    """``distributed_observability.__version__``, which 1.0 had, is the distribution's version."""
    installed = importlib.metadata.version("distributed-observability-tools")
    assert distributed_observability.__version__ == installed


def test_without_extras_all_imports_work_and_using_one_names_its_extra() -> None:
    """1.0's bare install could not even be imported."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.promise("OLD-01", "OLD-03")
@pytest.mark.parametrize("section", sections.SECTIONS)
def test_section_of_the_readme_of_1_0_runs(section: str, otlp_sink: OtlpSink) -> None:
    """As it stood there, in a process of its own; where it serves a request, the request's one SERVER span arrives."""
    code = sections.SECTIONS[section]
    done = sections.run(code, otlp_sink.url)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    if 'http.get("/orders"' in code and "sampling_rate=0.1" not in code:
        assert [span.name for span in otlp_sink.spans if span.kind == "SERVER"] == [
            "GET /orders"
        ]


def service(**options: object) -> FastAPI:
    """An application with 1.0's middleware."""
    app = FastAPI()
    config = TracingConfig(service_name="orders")
    app.add_middleware(RequestTracingMiddleware, tracing_config=config, **options)

    @app.get("/orders/{number}")
    async def order(number: int, request: Request) -> str:
        calls.append(number)
        if number == 13:
            raise ValueError("unlucky")
        return "ok"

    calls.clear()
    return app


calls: list[int] = []


@pytest.mark.promise("OLD-05")
def test_attributes_that_dashboards_query_are_there(spans: SpanRecorder) -> None:
    """The correlation id under its three names, captured headers, secrets masked whatever the patterns say."""
    config = FastAPIConfig(header_patterns=["*"])
    with TestClient(
        service(fastapi_config=config, custom_span_attributes={"team": "a"})
    ) as http:
        http.get(
            "/orders/1",
            headers={
                "x-correlation-id": "c-1",
                "Proxy-Authorization": "Basic c2VjcmV0",
            },
        )
    span = next(span for span in spans if span.kind.name == "SERVER")
    assert span.attributes is not None
    for name in ("correlation_id", "correlation.id", "x-correlation-id"):
        assert span.attributes[name] == "c-1"
    assert span.attributes["http.request.header.x-correlation-id"] == ("c-1",)
    assert span.attributes["http.request.header.proxy-authorization"] == ("[REDACTED]",)
    assert span.attributes["team"] == "a"


@pytest.mark.promise("OLD-03")
def test_raising_handler_runs_once(spans: SpanRecorder) -> None:
    """1.0 ran it a second time."""
    with TestClient(service(), raise_server_exceptions=False) as http:
        assert http.get("/orders/13").status_code == 500
    assert calls == [13]
    span = next(span for span in spans if span.kind.name == "SERVER")
    assert span.status.status_code is StatusCode.ERROR


@pytest.mark.promise("OLD-03")
def test_the_middleware_of_setup_takes_the_app_by_name() -> None:
    """As Starlette before 0.45 gives it, behind the options of ``add_middleware(*middleware_config)``."""
    app = FastAPI()
    assert isinstance(
        request_tracing_middleware({"tracing_config": None}, app=app),
        RequestTracingMiddleware,
    )
    assert isinstance(
        request_tracing_middleware(app, tracing_config=None), RequestTracingMiddleware
    )


def test_disabled_middleware_does_nothing(spans: SpanRecorder) -> None:
    """``FastAPIConfig(enable_middleware=False)`` adds no header."""
    with TestClient(
        service(fastapi_config=FastAPIConfig(enable_middleware=False))
    ) as http:
        response: httpx.Response = http.get("/orders/1")
    assert "X-Correlation-ID" not in response.headers


_SETS_UP = """
import sys
from distributed_observability import TracingConfig, setup_tracing
options = {"backend": sys.argv[1]} if sys.argv[1:] else {}
manager, _ = setup_tracing(TracingConfig(service_name="old", **options))
print(*manager.describe()["backend"])
"""


@pytest.mark.promise("CORE-110")
@pytest.mark.parametrize(
    ("argument", "variable", "expected"),
    [
        ([], "", "signoz argument"),
        (["none"], "", "none argument"),
        ([], "none", "none OBS_CORE_BACKEND"),
    ],
)
def test_traces_are_made_for_signoz_unless_asked_otherwise(
    argument: list[str], variable: str, expected: str
) -> None:
    """Which is where the users of 1.0 look at them."""
    done = subprocess.run(
        [sys.executable, "-c", _SETS_UP, *argument],
        env={**os.environ, "OBS_CORE_BACKEND": variable},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected


@pytest.mark.promise("OLD-06")
def test_migration_page_names_every_old_name() -> None:
    """Each name of 1.0 stands on the page, and each new one exists."""
    page = (Path(__file__).parents[3] / "docs" / "migration.md").read_text(
        encoding="utf-8"
    )
    names = {name for line in NAMES.values() for name in line.split()}
    assert (
        sorted(
            name
            for name in names
            if name not in page and name != "match_header_pattern"
        )
        == []
    )


@pytest.mark.promise("OLD-06")
def test_deprecated_name_warns_once_with_its_successor() -> None:
    """Two uses, one line."""
    code = "from distributed_observability.utils import patch_httpx; patch_httpx(); patch_httpx()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (
        done.stderr.count("patch_httpx is deprecated: use obs_http.instrument_httpx")
        == 1
    ), done.stderr
