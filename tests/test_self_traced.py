"""docs/self-traced.md: one policy for the libraries that trace themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from obs_core import TracingConfig, setup_tracing
from obs_core.integration import NATIVE_TRACERS, native_call
from obs_core.testing import OtlpSink, SpanRecorder
from obs_http import RequestTracingMiddleware, instrument_fastapi, uninstrument_fastapi
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.testclient import TestClient

PAGE = Path(__file__).parent.parent / "docs" / "self-traced.md"


@pytest.mark.promise("HTTP-14")
def test_the_page_has_the_libraries_of_the_code() -> None:
    """Each with its first version, changed names, and how it is switched off."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    table = lines[lines.index("|---|---|---|---|---|") + 1 :]
    for native, line in zip(NATIVE_TRACERS, table, strict=False):
        name, since, _, names, off = (cell.strip() for cell in line.split("|")[1:-1])
        assert (name, since) == (native.distribution, native.since)
        changed = [f"`{old}` → `{new}`" for old, new in native.names.items()]
        assert names == ", ".join(changed)
        assert off.startswith(f"`{native.off}`" if native.off else "")
    assert table[len(NATIVE_TRACERS)] == ""


@pytest.mark.promise("HTTP-14")
def test_spans_are_exported_in_the_conventions_words(
    otlp_sink: OtlpSink, spans: SpanRecorder
) -> None:
    """Whatever the backend is; other libraries' spans stay as they are."""
    config = TracingConfig(service_name="a", collector_url=otlp_sink.url)
    manager, _ = setup_tracing(config, replace=True)
    given = {
        "gen_ai.usage.cache_write.input_tokens": 4,
        "anthropic.message.stop_reason": "end_turn",
    }
    for scope in ("com.anthropic.sdk.python", "com.anthropic.sdk.python.aws", "mine"):
        trace.get_tracer(scope).start_span(scope, attributes=given).end()
    assert manager.flush()
    theirs = {
        "gen_ai.usage.cache_creation.input_tokens": 4,
        "gen_ai.response.finish_reasons": ["end_turn"],
    }
    assert [s.attributes for s in otlp_sink.spans] == [theirs, theirs, given]
    manager.shutdown()


@pytest.mark.promise("HTTP-14")
def test_a_span_tells_its_library(spans: SpanRecorder) -> None:
    """By its instrumentation scope; ours, and those of others, are no library's."""
    for scope, expected in {
        "fastapi": "fastapi",
        "fastapi_x": None,
        "mine": None,
    }.items():
        found = native_call(trace.get_tracer(scope).start_span("a"))
        assert (found and found.distribution) == expected
    assert native_call(trace.INVALID_SPAN) is None


def in_middleware(app: FastAPI) -> Any:
    app.add_middleware(RequestTracingMiddleware)
    return app


def instrumented(app: FastAPI) -> Any:
    instrument_fastapi(app)
    return app


def below_contrib(app: FastAPI) -> Any:
    return OpenTelemetryMiddleware(instrumented(app))


def all_instrumented(app: FastAPI) -> Any:
    instrument_fastapi()
    return app


@pytest.mark.promise("HTTP-14")
@pytest.mark.parametrize("telemetry", [None, {"tracing": False}])
@pytest.mark.parametrize(
    "traced",
    [
        in_middleware,
        instrumented,
        below_contrib,
        all_instrumented,
        RequestTracingMiddleware,
    ],
)
def test_a_mounted_application_has_one_server_span(
    traced: Callable[[FastAPI], Any],
    telemetry: dict[str, bool] | None,
    spans: SpanRecorder,
) -> None:
    """With FastAPI's own tracing on everywhere, and switched off outside alone, which does not reach what is mounted."""
    inner = FastAPI()
    inner.get("/orders/{number}")(lambda number: number)
    app = FastAPI(telemetry=telemetry) if telemetry else FastAPI()
    app.mount("/sub", inner)
    try:
        TestClient(traced(app)).get("/sub/orders/7")
    finally:
        uninstrument_fastapi()
        uninstrument_fastapi(app)
    names = [span.name for span in spans if span.kind.name == "SERVER"]
    assert names == ["GET /sub/orders/{number}"]
