"""The exporters of OTLP are given bytes, and keep their connection; where that cannot be, the SDK's encoder is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from obs_core import TracingConfig
from obs_core._config.settings import Settings, resolve
from obs_core._export import direct
from obs_core._export.encode.encoder import Encoder
from obs_core._export.exporters import build_exporter, encoder_in_use
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import INVALID_SPAN_CONTEXT

pytestmark = pytest.mark.promise("CORE-36")
SPAN = ReadableSpan(
    "span", INVALID_SPAN_CONTEXT, attributes={"a": 1}, start_time=1, end_time=2
)
Sinks = dict[str, Any]


@pytest.fixture
def sinks(otlp_sink: Any, grpc_sink: Any) -> Sinks:
    """A collector of each protocol."""
    return {"http": otlp_sink, "grpc": grpc_sink}


@pytest.fixture
def build(sinks: Sinks) -> Iterator[Callable[..., tuple[SpanExporter, Settings]]]:
    """Builds exporters, which are closed at the end."""
    built: list[SpanExporter] = []

    def build(protocol: Any, **environ: str) -> tuple[SpanExporter, Settings]:
        config = TracingConfig(
            service_name="s",
            collector_url=sinks[protocol].url,
            collector_protocol=protocol,
        )
        settings = resolve(config, environ)
        built.append(build_exporter(settings))
        return built[-1], settings

    yield build
    for exporter in built:
        exporter.shutdown()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_spans_and_encoded_spans_arrive(
    build: Any, sinks: Sinks, protocol: str
) -> None:
    """In one request."""
    exporter, settings = build(protocol)
    assert encoder_in_use(settings, type(exporter)) == ("direct", "default")
    encoded = Encoder().span(SPAN)
    assert exporter.export([SPAN, encoded]) is SpanExportResult.SUCCESS
    assert len(sinks[protocol].wait_for(2)) == 2


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_protobuf_encoder_is_not_asked(
    build: Any, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """Neither for the spans nor for the request."""
    exporter, _ = build(protocol)
    exporter.direct_encoder.request(
        [SPAN]
    )  # the resource and the scope are asked for once
    module = __import__(type(exporter).__mro__[1].__module__, fromlist=["encode_spans"])
    for encoder in (module, direct):
        monkeypatch.setattr(encoder, "encode_spans", lambda _: pytest.fail("asked"))
    assert exporter.export([SPAN]) is SpanExportResult.SUCCESS


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_sdk_s_encoder_is_used_if_asked_for(
    build: Any, sinks: Sinks, protocol: str
) -> None:
    """The exporter is the SDK's own class, but for its channel."""
    exporter, settings = build(protocol, OBS_CORE_SPANS="sdk")
    assert SpanExporter in type(exporter).__mro__[1:3]
    assert not hasattr(exporter, "direct_encoder")
    assert encoder_in_use(settings, type(exporter)) == ("sdk", "OBS_CORE_SPANS")
    assert exporter.export([SPAN]) is SpanExportResult.SUCCESS
    assert len(sinks[protocol].wait_for(1)) == 1


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_message_that_differs_leaves_it_to_the_sdk(
    build: Any, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """As a later version might write it."""
    monkeypatch.setattr(Encoder, "request", lambda *_: b"")
    direct.disagreement.cache_clear()
    try:
        exporter, settings = build(protocol)
        reason = "the SDK in use writes another message"
        assert encoder_in_use(settings, type(exporter)) == ("sdk", reason)
        assert exporter.export([SPAN]) is SpanExportResult.SUCCESS
    finally:
        direct.disagreement.cache_clear()


def test_an_exporter_without_the_place_is_left_as_it_is() -> None:
    """And so is one that is no exporter of OTLP."""

    class Later(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    assert direct.direct_http(Later, Encoder()) is Later
    assert direct.direct_grpc(Later, Encoder()) is Later
    settings = resolve(TracingConfig(service_name="s"), {})
    value, reason = encoder_in_use(settings, Later)
    assert (value, reason.rpartition(".")[2]) == ("sdk", "Later is given spans")


def test_describe_says_which(run: Any, otlp_sink: Any) -> None:
    """For the exporter that is in use."""
    done = run(
        f"""
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        config = TracingConfig(service_name="s", collector_url="{otlp_sink.url}")
        print(setup_tracing(config)[0].describe()["encoder"])
        print(setup_tracing(config, replace=True, span_exporter=InMemorySpanExporter())[0].describe()["encoder"])
        """
    )
    assert done.stdout.splitlines() == [
        "('direct', 'default')",
        "('sdk', 'InMemorySpanExporter is given spans')",
    ]
