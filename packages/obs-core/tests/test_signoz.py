"""The attributes that SigNoz's panes read, span by span; docs/backends.md has the panes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from obs_core import TracingConfig, setup_tracing
from obs_core._export.backends import for_backend
from obs_core._export.signoz import signoz_attributes
from obs_core.exceptions import ConfigurationError
from obs_core.testing import OtlpSink, SpanRecorder
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

CLIENT, SERVER = SpanKind.CLIENT, SpanKind.SERVER
HTTP = {"http.request.method": "GET", "server.address": "a.test"}


def added(given: Mapping[str, Any], kind: SpanKind = CLIENT) -> dict[str, Any]:
    """Return what is new or changed."""
    found = signoz_attributes(given, kind) or {}
    return {k: v for k, v in found.items() if given.get(k, added) != v}


@pytest.mark.promise("CORE-110")
@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        ({}, CLIENT, {}),
        ({"db.system.name": "sqlite"}, CLIENT, {"db.system": "sqlite"}),
        ({"db.system.name": "oracle.db"}, CLIENT, {"db.system": "oracle"}),
        (
            {"db.system.name": "mysql", "db.namespace": "shop", "db.name": "theirs"},
            CLIENT,
            {"db.system": "mysql"},
        ),
        (
            {**HTTP, "server.port": 443, "url.full": "https://a.test/"},
            CLIENT,
            {"http.method": "GET", "http.host": "a.test"},
        ),
        (
            {**HTTP, "server.port": 443, "url.full": "http://a.test:443/"},
            CLIENT,
            {"http.method": "GET", "http.host": "a.test:443"},
        ),
        (
            {**HTTP, "server.address": "::1", "server.port": 8000},
            CLIENT,
            {"http.method": "GET", "http.host": "[::1]:8000"},
        ),
        (HTTP, SERVER, {"http.method": "GET"}),
        (
            {"server.address": "smtp", "server.port": 25},
            CLIENT,
            {"net.peer.name": "smtp", "net.peer.port": "25"},
        ),
        ({"server.address": "smtp"}, CLIENT, {"net.peer.name": "smtp"}),
        ({"server.address": "smtp", "server.port": 25}, SERVER, {}),
        (
            {"gen_ai.provider.name": "openai", "error.type": "429"},
            CLIENT,
            {"gen_ai.system": "openai", "gen_ai.error.type": "429"},
        ),
    ],
)
def test_a_span_is_read(
    given: dict[str, Any], kind: SpanKind, expected: dict[str, Any]
) -> None:
    """By the conventions of its kind; a name that is there already stays."""
    before = dict(given)
    assert added(given, kind) == expected
    assert given == before


@pytest.mark.promise("CORE-110")
def test_newer_rpc_names_become_the_established_ones() -> None:
    """``rpc.method`` is a name of both, with other values."""
    newer = {
        "rpc.system.name": "grpc",
        "rpc.method": "shop.Orders/Get",
        "rpc.response.status_code": "NOT_FOUND",
        "server.address": "orders",
        "server.port": 50051,
    }
    both = {**newer, "rpc.system": "grpc", "rpc.service": "shop.Orders"}
    for given in (newer, both):
        found = signoz_attributes(given, CLIENT) or {}
        assert found["rpc.system"] == "grpc"
        assert (found["rpc.service"], found["rpc.method"]) == ("shop.Orders", "Get")
        assert found["rpc.grpc.status_code"] == 5
        assert "net.peer.name" not in found


@pytest.mark.promise("CORE-110")
@pytest.mark.parametrize("stable", [True, False])
def test_a_database_is_no_external_call(stable: bool) -> None:
    """Whichever convention names its address: contrib's under ``database/dup`` too."""
    former = {
        "db.system": "postgresql",
        "net.peer.name": "db",
        "net.peer.port": 5432,
        "peer.service": "orders-db",
    }
    given = {
        "db.system.name": "postgresql",
        "server.address": "db",
        "server.port": 5432,
    }
    found = signoz_attributes({**former, **given} if stable else former, CLIENT) or {}
    assert not {"net.peer.name", "net.peer.port", "peer.service"} & found.keys()
    assert found.get("obs.db.server.port") == (5432 if stable else None)


@pytest.mark.promise("CORE-110")
@pytest.mark.parametrize("kind", ["light", "sdk"])
def test_a_copy_is_exported(
    kind: str, monkeypatch: pytest.MonkeyPatch, spans: SpanRecorder
) -> None:
    """Processors and the application keep the span as it was made, whoever makes it."""
    monkeypatch.setenv("OBS_CORE_SPANS", kind)
    exported, kept = InMemorySpanExporter(), InMemorySpanExporter()
    manager, _ = setup_tracing(
        TracingConfig(service_name="a", backend="signoz"),
        span_exporter=exported,
        span_processors=[SimpleSpanProcessor(kept)],
        replace=True,
    )
    attributes = {"db.system.name": "sqlite", "server.port": 1}
    with trace.get_tracer("any").start_as_current_span(
        "q", kind=CLIENT, attributes=attributes
    ) as span:
        span.add_event("read")
    manager.flush()
    [shown], [own] = exported.get_finished_spans(), kept.get_finished_spans()
    assert dict(own.attributes or {}) == attributes
    assert dict(shown.attributes or {}) == {
        "db.system.name": "sqlite",
        "db.system": "sqlite",
        "obs.db.server.port": 1,
    }
    for name in ("name", "context", "kind", "status", "events", "start_time"):
        assert getattr(shown, name) == getattr(own, name)
    manager.shutdown()


@pytest.mark.promise("CORE-110")
def test_what_the_spool_keeps_is_read_too(
    otlp_sink: OtlpSink, tmp_path: Path, spans: SpanRecorder
) -> None:
    """It is encoded where the span ends, and exported as it is."""
    config = TracingConfig(
        service_name="a",
        collector_url=otlp_sink.url,
        backend="signoz",
        spool_dir=tmp_path,
    )
    manager, _ = setup_tracing(config, replace=True)
    attributes = {"db.system.name": "redis", "db.namespace": "0"}
    trace.get_tracer("any").start_span("GET", attributes=attributes).end()
    assert manager.flush()
    [span] = otlp_sink.spans
    assert span.attributes == {**attributes, "db.system": "redis", "db.name": "0"}
    manager.shutdown()


@pytest.mark.promise("CORE-110")
def test_only_signoz_changes_spans() -> None:
    """By default spans are exported as they are; any other name is an error with the fix."""
    span = ReadableSpan("SELECT", attributes={"db.system.name": "sqlite"})
    assert for_backend("none")(span) is span
    with pytest.raises(ConfigurationError, match="use 'signoz'"):
        TracingConfig(service_name="a", backend="datadog")  # type: ignore[arg-type]
