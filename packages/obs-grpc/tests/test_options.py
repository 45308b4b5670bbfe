"""Which RPCs are traced."""

from __future__ import annotations

from concurrent import futures
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc
from obs_core.testing import SpanRecorder
from obs_grpc import RpcDetails, instrument_grpc_client, instrument_grpc_server
from obs_grpc_servers import handlers, path, serving, wait_for_spans


def unary_unary(request: bytes, context: Any) -> bytes:
    return request


def probe(**options: Any) -> None:
    """Ask a server for its health, by call and by watch, and for its services."""
    server = instrument_grpc_server(
        grpc.server(futures.ThreadPoolExecutor(4)), **options
    )
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    reflection.enable_server_reflection([reflection.SERVICE_NAME], server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with instrument_grpc_client(
        grpc.insecure_channel(f"127.0.0.1:{port}"), **options
    ) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert (
            stub.Check(health_pb2.HealthCheckRequest()).status
            == health_pb2.HealthCheckResponse.SERVING
        )
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        list(
            reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
                asked
            )
        )
    server.stop(None).wait()


@pytest.mark.promise("RPC-07")
def test_health_and_reflection_are_not_traced(spans: SpanRecorder) -> None:
    """Probes and tools make no spans on either side."""
    probe()
    assert len(spans) == 0


@pytest.mark.promise("RPC-07")
def test_health_and_reflection_on_request(spans: SpanRecorder) -> None:
    """``exclude=()`` traces them as well; Watch, served through grpc's experimental callbacks, on the client alone."""
    probe(exclude=())
    wait_for_spans(spans, 5)
    assert {span.attributes["rpc.method"] for span in spans} == {
        "Check",
        "Watch",
        "ServerReflectionInfo",
    }


def names_of_spans(
    spans: SpanRecorder, methods: list[str], **options: Any
) -> list[str]:
    """Call each method, which the server does not know, through a channel with `options`; return the new spans' names."""
    before = len(spans)
    with (
        serving(
            handlers(unary_unary=unary_unary), instrument=lambda server: server
        ) as address,
        instrument_grpc_client(grpc.insecure_channel(address), **options) as channel,
    ):
        for method in methods:
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(method)(b"x")
    return [span.name for span in spans][before:]


METHODS = [
    "/a.B/Shown",
    "/a.B/HiddenOne",
    "/env.One/Shown",
    "/env.Two/Shown",
    "/c.D/Shown",
]


@pytest.mark.promise("RPC-07")
@pytest.mark.parametrize(
    "exclude",
    [
        ["a.B/HiddenOne", "c.D"],
        ("/a.B/HiddenOne", "/c.D/Shown"),
        {"a.B/Hidden*", "c.*"},
        lambda details: details.method in ("/a.B/HiddenOne", "/c.D/Shown"),
    ],
    ids=["names", "as sent", "globs", "function"],
)
def test_excluded_services_and_methods(
    spans: SpanRecorder, monkeypatch: pytest.MonkeyPatch, exclude: Any
) -> None:
    """Names and globs of services and methods, or a function; the environment's services are excluded as well."""
    monkeypatch.setenv("OTEL_PYTHON_GRPC_EXCLUDED_SERVICES", "env.One, env.Two")
    assert names_of_spans(spans, METHODS, exclude=exclude) == ["a.B/Shown"]


@pytest.mark.promise("RPC-07")
def test_filters_combine(spans: SpanRecorder) -> None:
    """Contrib's filters can be given; a function excludes in addition to health checks and reflection."""
    from opentelemetry.instrumentation.grpc import filters

    hidden = filters.method_prefix("Hidden")  # type: ignore[no-untyped-call]
    methods = ["/a.B/Shown", "/a.B/HiddenOne", "/grpc.health.v1.Health/Shown"]
    assert names_of_spans(spans, methods, exclude=hidden) == ["a.B/Shown"]
    probe(exclude=lambda details: False)
    assert len(spans) == 1


@pytest.mark.promise("RPC-07")
def test_filter_is_asked_once_and_may_raise(
    spans: SpanRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """A function is asked once for each method, on the server too; if it raises, that is logged, and the RPC is traced."""
    asked: list[str] = []

    def broken(details: RpcDetails) -> bool:
        asked.append(details.method)
        raise ZeroDivisionError

    def server(server: grpc.Server) -> grpc.Server:
        return instrument_grpc_server(server, exclude=broken)

    with (
        serving(handlers(unary_unary=unary_unary), instrument=server) as address,
        grpc.insecure_channel(address) as channel,
    ):
        for _ in range(3):
            assert channel.unary_unary(path("unary_unary"))(b"x") == b"x"
    assert asked == [path("unary_unary")]
    wait_for_spans(spans, 3)
    assert "exclude failed" in caplog.text
