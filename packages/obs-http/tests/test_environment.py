"""The standard variables on the side of the server; `test_clients.py` asks the same of the clients."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI, Response
from obs_core import CorrelationConfig
from obs_core.exceptions import ConfigurationError
from obs_core.testing import SpanRecorder
from obs_http import RequestTracingMiddleware
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from .server.ways_in import HAS_NATIVE, WAYS, Client

CAPTURE = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"
TRACING = pytest.mark.parametrize("native", [True, False] if HAS_NATIVE else [False])
EACH_WAY = pytest.mark.parametrize("way", WAYS)


def ask(way: str, native: bool, *paths: str, **options: Any) -> list[Client]:
    """Ask a new application, traced that `way`, for each of `paths`."""
    app = FastAPI(**({"telemetry": {"tracing": native}} if HAS_NATIVE else {}))

    @app.get("/{path:path}")
    async def answer(path: str) -> Response:
        with trace.get_tracer("test").start_as_current_span("below"):
            return Response(headers={"X-Answer": "a", "X-Token-Of-Mine": "t"})

    clients = [Client() for _ in paths]

    async def run() -> None:
        headers = [(b"x-mine", b"1"), (b"x-mine-of-mine", b"2"), (b"not-x-mine", b"3")]
        with WAYS[way](app, **options) as traced:
            for client, path in zip(clients, paths, strict=True):
                assert await client.ask(traced, path, headers=headers) is None

    asyncio.run(run())
    return clients


def asked_for(spans: SpanRecorder) -> list[Any]:
    return [span for span in spans if span.kind is SpanKind.SERVER]


@pytest.mark.promise("HTTP-12")
@EACH_WAY
@TRACING
def test_the_standard_variables_hold(
    way: str, native: bool, spans: SpanRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers to capture and mask, URLs to leave out, whichever way in; the usual paths stay out as well."""
    monkeypatch.setenv(CAPTURE + "SERVER_REQUEST", "X-Mine.*")
    monkeypatch.setenv(CAPTURE + "SERVER_RESPONSE", "x-answer,X-Tok.*")
    monkeypatch.setenv(CAPTURE + "SANITIZE_FIELDS", ".*OF-mine")
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "never-read")
    monkeypatch.setenv(
        "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS", "client/.*/info, ^http://shop/inner"
    )
    ask(way, native, "/never-read", "/health", "/client/1/info", "/inner/1", "/x/inner")
    found = asked_for(spans)
    assert [span.attributes["url.path"] for span in found] == [
        "/never-read",
        "/x/inner",
    ]
    assert len(spans.named("below")) == 2
    captured = {
        name.removeprefix("http."): value
        for name, value in found[0].attributes.items()
        if ".header." in name
    }
    assert captured == {
        "request.header.x-mine": ("1",),
        "request.header.x-mine-of-mine": ("[REDACTED]",),
        "response.header.x-answer": ("a",),
        "response.header.x-token-of-mine": ("[REDACTED]",),
    }


@pytest.mark.promise("HTTP-12")
@TRACING
def test_the_general_variable_holds_where_there_is_no_nearer_one(
    native: bool, spans: SpanRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``OTEL_PYTHON_EXCLUDED_URLS``; a nearer one that is empty leaves nothing out."""
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "inner")
    ask("add_middleware", native, "/inner")
    assert not len(spans)
    monkeypatch.setenv("OTEL_PYTHON_FASTAPI_EXCLUDED_URLS", "")
    ask("add_middleware", native, "/inner")
    assert len(asked_for(spans)) == 1


@pytest.mark.promise("HTTP-12")
def test_what_the_code_says_goes_first(
    spans: SpanRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it says nothing is to be captured or left out."""
    monkeypatch.setenv(CAPTURE + "SERVER_REQUEST", ".*")
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "inner")
    ask("add_middleware", False, "/inner", capture_request_headers=[], exclude=[])
    (span,) = asked_for(spans)
    assert not [name for name in span.attributes if ".header." in name]


@pytest.mark.promise("HTTP-12")
@pytest.mark.parametrize(
    "variable", [CAPTURE + "SERVER_REQUEST", "OTEL_PYTHON_EXCLUDED_URLS"]
)
def test_what_is_no_regular_expression_is_named(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At set-up, with the variable."""
    monkeypatch.setenv(variable, "ok,a(b")
    with pytest.raises(ConfigurationError, match=rf"{variable}: 'a\(b'"):
        RequestTracingMiddleware(FastAPI())


@pytest.mark.promise("CORE-60")
@TRACING
def test_without_propagation_the_answer_names_no_correlation_id(
    native: bool, spans: SpanRecorder
) -> None:
    """The id is on the span, and leaves in no form."""
    (client,) = ask(
        "add_middleware", native, "/", correlation=CorrelationConfig(propagation=False)
    )
    (span,) = asked_for(spans)
    assert span.attributes["correlation_id"] not in str(client.answers)
    assert b"x-processing-time" in dict(client.answers[0]["headers"])
