"""Contrib's interceptors as the implementation: client and server, sync and aio."""

from __future__ import annotations

import asyncio
import sys
from concurrent import futures
from typing import Any

import grpc
import grpc.aio
import pytest
from obs_core.exceptions import (
    AlreadyConfiguredError,
    ConfigurationError,
    MissingDependencyError,
)
from obs_core.testing import SpanRecorder
from obs_grpc import (
    _state,
    instrument_grpc_client,
    instrument_grpc_server,
    uninstrument_grpc_client,
    uninstrument_grpc_server,
)
from obs_grpc_servers import wait_for_spans
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

SCOPE = "opentelemetry.instrumentation.grpc"
METHOD = "/test.Generic/Ask"
BOTH = (instrument_grpc_client, instrument_grpc_server)
FACTORIES = [
    (module, name)
    for module in (grpc, grpc.aio)
    for name in ("insecure_channel", "secure_channel", "server")
]


@pytest.fixture(autouse=True)
def _only_ours() -> None:
    """Forget channels and servers that other tests have left to the collector of garbage."""
    _state._made.clear()


def answer(request: bytes, context: Any) -> bytes:
    if request == b"crash":
        raise ValueError(request.decode() + "ed")
    if request == b"abort":
        context.abort(grpc.StatusCode.NOT_FOUND, "none of that name")
    return request


async def aio_answer(request: bytes, context: Any) -> bytes:
    if request == b"crash":
        raise ValueError(request.decode() + "ed")
    if request == b"abort":
        await context.abort(grpc.StatusCode.NOT_FOUND, "none of that name")
    return request


def handlers(behaviour: Any) -> Any:
    method = grpc.unary_unary_rpc_method_handler(behaviour)
    return grpc.method_handlers_generic_handler("test.Generic", {"Ask": method})


def call_sync(request: bytes, method: str = METHOD) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handlers(answer),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary(method)(request, timeout=10)
        finally:
            server.stop(None).wait()


def call_aio(request: bytes, method: str = METHOD) -> None:
    async def main() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((handlers(aio_answer),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                await channel.unary_unary(method)(request, timeout=10)
            finally:
                await server.stop(None)

    asyncio.run(main())


both_ways = pytest.mark.parametrize("call", [call_sync, call_aio])


def by_kind(spans: SpanRecorder) -> tuple[Any, Any]:
    wait_for_spans(spans, 2)
    found: dict[Any, Any] = {span.kind: span for span in spans}
    return found[SpanKind.CLIENT], found[SpanKind.SERVER]


@both_ways
@pytest.mark.promise("RPC-12")
def test_one_trace(call: Any, spans: SpanRecorder) -> None:
    """Of contrib's spans; a second call is the first; uninstrumented, the factories are as they were."""
    before = [getattr(*each) for each in FACTORIES]
    handles = [instrument(implementation="contrib") for instrument in BOTH]
    assert [instrument() for instrument in BOTH] == handles
    call(b"ask")
    client, server = by_kind(spans)
    assert {client.instrumentation_scope.name, server.instrumentation_scope.name} == {
        SCOPE
    }
    assert client.name.lstrip("/") == METHOD.lstrip("/")
    assert server.parent.span_id == client.context.span_id
    for handle in handles:
        handle.uninstrument()
    assert [getattr(*each) for each in FACTORIES] == before
    call(b"ask")
    assert len(spans) == 2


@both_ways
@pytest.mark.promise("RPC-12")
def test_a_crash_is_an_error_of_the_server(call: Any, spans: SpanRecorder) -> None:
    """With its code, which contrib leaves OK, and without its message on the server's span; an abort is none."""
    for instrument in BOTH:
        instrument(implementation="contrib")
    with pytest.raises(grpc.RpcError):
        call(b"crash")
    client, server = by_kind(spans)
    assert server.status.status_code is client.status.status_code is StatusCode.ERROR
    assert server.attributes["rpc.grpc.status_code"] == 2
    assert server.attributes["error.type"] == "ValueError"
    assert "crashed" not in server.to_json()
    spans.clear()
    with pytest.raises(grpc.RpcError):
        call(b"abort")
    client, server = by_kind(spans)
    assert server.status.status_code is StatusCode.UNSET
    assert server.events == ()
    assert server.attributes["rpc.grpc.status_code"] == 5
    assert client.status.status_code is StatusCode.ERROR


@both_ways
@pytest.mark.promise("RPC-12")
def test_excluded_methods_and_hooks(
    call: Any, spans: SpanRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """What `exclude` names has no spans; a hook that raises is logged; what it writes is bounded."""

    def on_request(span: trace.Span, *_: object) -> None:
        span.set_attribute("long", "x" * 10_000)
        span.set_attribute("password", "secret")
        raise RuntimeError("hook")

    instrument_grpc_client(
        implementation="contrib",
        contrib_options={"request_hook": on_request},
        exclude=["test.Generic/Other"],
    )
    instrument_grpc_server(implementation="contrib", exclude=["test.Generic"])
    call(b"ask")
    with pytest.raises(grpc.RpcError):
        call(b"ask", "/test.Generic/Other")
    wait_for_spans(spans, 1)
    (span,) = spans
    assert span.kind is SpanKind.CLIENT
    attributes = span.attributes or {}
    assert len(str(attributes["long"]).encode()) == 4096
    assert attributes["password"] == "[REDACTED]"


@pytest.mark.promise("RPC-12")
@pytest.mark.parametrize("side", ["client", "server"])
def test_what_cannot_work_is_an_error(
    side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single channel or server, an option of ours, both implementations, a missing package; the environment chooses."""
    instrument = BOTH[side == "server"]
    undo = (uninstrument_grpc_client, uninstrument_grpc_server)[side == "server"]
    single: Any = grpc.insecure_channel("127.0.0.1:1")
    if side == "server":
        single = grpc.server(futures.ThreadPoolExecutor(1))
    with pytest.raises(
        ConfigurationError,
        match=f"contrib traces all {'server' if side == 'server' else 'channel'}s",
    ):
        instrument(single, implementation="contrib")
    with pytest.raises(ConfigurationError, match="include_message_events: not an"):
        instrument(implementation="contrib", include_message_events=True)
    instrument(implementation="contrib")
    with pytest.raises(AlreadyConfiguredError, match="Uninstrument that first"):
        instrument(single, implementation="obs")
    undo()
    traced = instrument(single)
    with pytest.raises(AlreadyConfiguredError, match="Uninstrument that first"):
        instrument(implementation="contrib")
    undo(traced)
    monkeypatch.setenv("OBS_IMPLEMENTATION", f"grpc_{side}=contrib")
    monkeypatch.setitem(sys.modules, SCOPE, None)
    with pytest.raises(MissingDependencyError, match=r"obs-grpc\[contrib\]"):
        instrument()
