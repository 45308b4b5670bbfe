"""Attribute names, addresses and codes."""

from __future__ import annotations

import grpc
import pytest
from obs_core.testing import SpanRecorder
from obs_grpc import instrument_grpc_client
from obs_grpc._attributes import client_address, server_address
from obs_grpc._outcome import as_status_code
from obs_grpc._semconv import Names

OLDER = {"rpc.system": "grpc", "rpc.service": "a.B", "rpc.method": "C"}
NEWER = {"rpc.system.name": "grpc", "rpc.method": "a.B/C"}


@pytest.mark.promise("RPC-08")
@pytest.mark.parametrize(
    ("opted", "start", "code"),
    [
        (None, OLDER, {"rpc.grpc.status_code": 5}),
        ("http,database", OLDER, {"rpc.grpc.status_code": 5}),
        ("http, rpc", NEWER, {"rpc.response.status_code": "NOT_FOUND"}),
        (
            "rpc/dup",
            {**OLDER, **NEWER},
            {"rpc.grpc.status_code": 5, "rpc.response.status_code": "NOT_FOUND"},
        ),
        (
            "rpc,rpc/dup",
            {**OLDER, **NEWER},
            {"rpc.grpc.status_code": 5, "rpc.response.status_code": "NOT_FOUND"},
        ),
    ],
)
def test_names(
    monkeypatch: pytest.MonkeyPatch,
    opted: str | None,
    start: dict[str, str],
    code: dict[str, object],
) -> None:
    """The older names by default, the newer ones on request, both under ``rpc/dup``."""
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    if opted is not None:
        monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opted)
    names = Names()
    assert names.rpc("a.B/C") == start
    assert names.codes[grpc.StatusCode.NOT_FOUND] == code


@pytest.mark.promise("RPC-08")
def test_newer_names_on_a_span(
    spans: SpanRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is read as the instrumentation is set up."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "rpc")
    with (
        instrument_grpc_client(grpc.insecure_channel("dns:///localhost:1")) as channel,
        pytest.raises(grpc.RpcError),
    ):
        channel.unary_unary("/a.B/C")(b"x")
    assert dict(spans.finished[0].attributes) == {
        **NEWER,
        "server.address": "localhost",
        "server.port": 1,
        "rpc.response.status_code": "UNAVAILABLE",
        "error.type": "UNAVAILABLE",
    }


@pytest.mark.promise("RPC-08")
@pytest.mark.parametrize(
    ("target", "address", "port"),
    [
        ("localhost:50051", "localhost", 50051),
        ("dns:///orders.internal:443", "orders.internal", 443),
        ("dns://8.8.8.8/orders:443", "orders", 443),
        ("dns:orders:443", "orders", 443),
        ("orders", "orders", None),
        ("ipv4:10.0.0.1:50,10.0.0.2:50", "10.0.0.1", 50),
        ("[::1]:50051", "::1", 50051),
        ("ipv6:[::1]:50051", "::1", 50051),
        ("xds:///orders", "orders", None),
        ("unix:/run/orders.sock", "/run/orders.sock", None),
        ("unix:///run/orders.sock", "/run/orders.sock", None),
        ("unix-abstract:orders", "orders", None),
    ],
)
def test_server_address(target: str, address: str, port: int | None) -> None:
    """Targets of every scheme."""
    assert server_address(target) == {
        "server.address": address,
        **({"server.port": port} if port else {}),
    }


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("ipv4:127.0.0.1:57284", {"client.address": "127.0.0.1", "client.port": 57284}),
        ("ipv6:%5B::1%5D:57284", {"client.address": "::1", "client.port": 57284}),
        (
            "ipv6:[fe80::1%25eth0]:57284",
            {"client.address": "fe80::1%eth0", "client.port": 57284},
        ),
        ("unix:", {}),
        ("unix:/run/client.sock", {"client.address": "/run/client.sock"}),
        ("", {}),
    ],
)
def test_client_address(peer: str, expected: dict[str, object]) -> None:
    """Peers as grpc tells them."""
    assert client_address(peer) == expected


def test_codes_of_every_kind() -> None:
    """StatusCode, its number, None, and what is none of these."""
    codes = (grpc.StatusCode.ABORTED, 10, None, 0, 99)
    assert [as_status_code(code).name for code in codes] == [
        "ABORTED",
        "ABORTED",
        "OK",
        "OK",
        "UNKNOWN",
    ]
