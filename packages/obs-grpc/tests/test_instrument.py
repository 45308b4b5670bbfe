"""What can be instrumented, once, and taken back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from concurrent import futures
from importlib.metadata import entry_points, version
from typing import Any

import grpc
import grpc.aio
import obs_grpc_echo_pb2 as pb2
import obs_grpc_echo_pb2_grpc as pb2_grpc
import pytest
from obs_core.exceptions import AlreadyConfiguredError, ConfigurationError
from obs_core.integration import active_instrumentations
from obs_core.testing import SpanRecorder
from obs_grpc import (
    instrument_grpc_client,
    instrument_grpc_server,
    uninstrument_grpc_client,
    uninstrument_grpc_server,
)
from obs_grpc_matrix import AioEcho, Echo
from obs_grpc_servers import aio_serving, handlers, path, serving, wait_for_spans
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import SpanKind


def echo(request: bytes, context: Any) -> bytes:
    return request


async def aio_echo(request: bytes, context: Any) -> bytes:
    return request


ONE_TRACE = """
test.Generic/unary_unary [CLIENT]
  test.Generic/unary_unary [SERVER]
"""


@pytest.mark.promise("RPC-01")
def test_existing_objects_sync(spans: SpanRecorder) -> None:
    """An existing channel and server are traced, however often that is asked for, and the same object comes back."""

    def thrice(server: grpc.Server) -> grpc.Server:
        assert instrument_grpc_server(instrument_grpc_server(server)) is server
        return instrument_grpc_server(server)

    with serving(handlers(unary_unary=echo), instrument=thrice) as address:
        plain = grpc.insecure_channel(address)
        channel = instrument_grpc_client(plain)
        assert (
            instrument_grpc_client(channel) is channel is instrument_grpc_client(plain)
        )
        assert isinstance(channel, grpc.Channel)
        with channel:
            assert channel.unary_unary(path("unary_unary"))(b"x") == b"x"
    wait_for_spans(spans, 2)
    spans.assert_tree(ONE_TRACE)


@pytest.mark.promise("RPC-01")
def test_existing_objects_aio(spans: SpanRecorder) -> None:
    """The same with grpc.aio."""

    async def main() -> None:
        def thrice(server: grpc.aio.Server) -> grpc.aio.Server:
            assert instrument_grpc_server(instrument_grpc_server(server)) is server
            return instrument_grpc_server(server)

        async with aio_serving(
            handlers(unary_unary=aio_echo), instrument=thrice
        ) as address:
            plain = grpc.aio.insecure_channel(address)
            channel = instrument_grpc_client(plain)
            assert (
                instrument_grpc_client(channel)
                is channel
                is instrument_grpc_client(plain)
            )
            assert isinstance(channel, grpc.aio.Channel)
            async with channel:
                assert await channel.unary_unary(path("unary_unary"))(b"x") == b"x"

    asyncio.run(main())
    wait_for_spans(spans, 2)
    spans.assert_tree(ONE_TRACE)


@pytest.mark.promise("RPC-01")
@pytest.mark.parametrize("registered", [False, True])
def test_server_that_has_its_handlers_and_runs(
    spans: SpanRecorder, registered: bool
) -> None:
    """A server is reached after its handlers were added, and even after it was started."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    if registered and not hasattr(server, "add_registered_method_handlers"):
        pytest.skip("this grpc has no registered handlers")
    if registered:
        server.add_registered_method_handlers(
            "test.Generic", {"unary_unary": grpc.unary_unary_rpc_method_handler(echo)}
        )
    else:
        server.add_generic_rpc_handlers([handlers(unary_unary=echo)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    instrument_grpc_server(server)
    with instrument_grpc_client(grpc.insecure_channel(f"127.0.0.1:{port}")) as channel:
        assert channel.unary_unary(path("unary_unary"))(b"x") == b"x"
    server.stop(None).wait()
    wait_for_spans(spans, 2)
    spans.assert_tree(ONE_TRACE)


@pytest.mark.promise("RPC-01")
@pytest.mark.parametrize("registered", [False, True])
def test_aio_server_that_has_its_handlers_and_runs(
    spans: SpanRecorder, registered: bool
) -> None:
    """The same with grpc.aio; handlers that are added later are traced as well."""

    async def main() -> None:
        server = grpc.aio.server()
        methods = {"unary_unary": grpc.unary_unary_rpc_method_handler(aio_echo)}
        if registered and not hasattr(server, "add_registered_method_handlers"):
            pytest.skip("this grpc has no registered handlers")
        # as generated code does: registered handlers come first where an aio server has them, which not all versions do
        server.add_generic_rpc_handlers([handlers(unary_unary=aio_echo)])
        if registered:
            server.add_registered_method_handlers("test.Generic", methods)
        port = server.add_insecure_port("127.0.0.1:0")
        instrument_grpc_server(server)
        if registered:
            server.add_registered_method_handlers("test.Later", methods)
        else:
            server.add_generic_rpc_handlers(
                [grpc.method_handlers_generic_handler("test.Later", methods)]
            )
        await server.start()
        async with instrument_grpc_client(
            grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        ) as channel:
            assert await channel.unary_unary(path("unary_unary"))(b"x") == b"x"
            assert await channel.unary_unary("/test.Later/unary_unary")(b"x") == b"x"
        await server.stop(None)

    asyncio.run(main())
    wait_for_spans(spans, 4)
    spans.assert_tree(ONE_TRACE + ONE_TRACE.replace("Generic", "Later").lstrip("\n"))


@pytest.mark.promise("RPC-01")
def test_all_that_are_created_later_sync(spans: SpanRecorder) -> None:
    """Without an argument every channel and server created from then on is traced, with the user's interceptors kept."""

    class Users(grpc.ServerInterceptor):
        seen = 0

        def intercept_service(self, continuation: Any, details: Any) -> Any:
            Users.seen += 1
            return continuation(details)

    client, server_handle = instrument_grpc_client(), instrument_grpc_server()
    assert instrument_grpc_client() is client
    assert {"grpc_client", "grpc_server"} <= set(active_instrumentations())
    server = grpc.server(futures.ThreadPoolExecutor(2), None, (Users(),))
    pb2_grpc.add_EchoServicer_to_server(Echo(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    instrument_grpc_server(server)  # is covered already
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert instrument_grpc_client(channel) is channel
        stub = pb2_grpc.EchoStub(channel)
        assert stub.UnaryUnary(pb2.Message(text="ok")).text == "ok"
        wait_for_spans(spans, 2)
        spans.assert_tree(
            "\nobs.test.Echo/UnaryUnary [CLIENT]\n  obs.test.Echo/UnaryUnary [SERVER]"
        )
        client.uninstrument()
        uninstrument_grpc_server()
        assert stub.UnaryUnary(pb2.Message(text="ok")).text == "ok"
    server.stop(None).wait()
    assert len(spans) == 2
    assert Users.seen == 2
    assert not client.is_active
    assert not server_handle.is_active


@pytest.mark.promise("RPC-01")
def test_all_that_are_created_later_aio(spans: SpanRecorder) -> None:
    """The same with grpc.aio."""

    class Users(grpc.aio.ServerInterceptor):
        seen = 0

        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            Users.seen += 1
            return await continuation(details)

    async def main() -> None:
        server = grpc.aio.server(interceptors=(Users(),))
        pb2_grpc.add_EchoServicer_to_server(AioEcho(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(target=f"127.0.0.1:{port}") as channel:
            assert [
                m.text
                async for m in pb2_grpc.EchoStub(channel).UnaryStream(
                    pb2.Message(text="ok")
                )
            ] == ["ok", "ok"]
        await server.stop(None)

    before = grpc.aio.insecure_channel, grpc.aio.server
    instrument_grpc_client()
    instrument_grpc_server()
    asyncio.run(main())
    uninstrument_grpc_client()
    uninstrument_grpc_server()
    assert (grpc.aio.insecure_channel, grpc.aio.server) == before
    wait_for_spans(spans, 2)
    spans.assert_tree(
        "\nobs.test.Echo/UnaryStream [CLIENT]\n  obs.test.Echo/UnaryStream [SERVER]"
    )
    assert Users.seen == 1


@pytest.mark.promise("RPC-01")
def test_uninstrument_is_the_exact_inverse(spans: SpanRecorder) -> None:
    """A channel and a server are as before; stubs of the traced channel go on working, untraced."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    before = vars(server).copy(), vars(server._state).copy()
    instrument_grpc_server(server)
    assert uninstrument_grpc_server(server) is server
    assert (vars(server), vars(server._state)) == before
    server.stop(None).wait()
    with serving(
        handlers(unary_unary=echo), instrument=lambda server: server
    ) as address:
        plain = grpc.insecure_channel(address)
        stub = instrument_grpc_client(plain).unary_unary(path("unary_unary"))
        assert uninstrument_grpc_client(plain) is plain
        assert stub(b"x") == stub.future(b"x").result() == b"x"
        assert len(spans) == 0
        again = instrument_grpc_client(plain)
        assert again.unary_unary(path("unary_unary"))(b"x") == b"x"
        assert len(spans) == 1
        assert uninstrument_grpc_client(again) is plain
        plain.close()


@pytest.mark.promise("RPC-01")
def test_nothing_is_kept_alive(spans: SpanRecorder) -> None:
    """Channels and servers that go out of use are collected, and are instrumented no longer."""
    import gc
    import weakref

    channel = instrument_grpc_client(grpc.insecure_channel("127.0.0.1:1"))
    server = instrument_grpc_server(grpc.server(futures.ThreadPoolExecutor(1)))
    known = weakref.ref(channel), weakref.ref(server)
    server.stop(None).wait()
    channel.close()
    del channel, server
    gc.collect()
    assert [ref() for ref in known] == [None, None]
    assert "grpc_client" not in active_instrumentations()


def test_wrong_arguments_say_what_to_do() -> None:
    """Bad configuration raises at the call: the option, the value, the fix."""
    with pytest.raises(
        ConfigurationError, match=r"channel='localhost:50051' .* give a grpc.Chan"
    ):
        instrument_grpc_client("localhost:50051")
    with pytest.raises(
        ConfigurationError, match=r"server=7 is not valid: give a grpc.Server"
    ):
        instrument_grpc_server(7)


@pytest.mark.parametrize(
    "wrong",
    [
        {"exclude": "a.B"},
        {"exclude": 3},
        {"exclude": [b"a.B"]},
        {"exclude": None},
        {"include_message_events": "yes"},
        {"identity_from_baggage": None},
    ],
    ids=str,
)
def test_wrong_options_say_what_to_do(wrong: dict[str, Any]) -> None:
    """An option of the wrong kind raises at the call: the option, the value, the fix."""
    ((name, value),) = wrong.items()
    for target in (None, grpc.server(futures.ThreadPoolExecutor(1))):
        with pytest.raises(ConfigurationError) as refused:
            instrument_grpc_server(target, **wrong)  # type: ignore[call-overload]
        assert str(refused.value).startswith(f"{name}={value!r} is not valid: ")


def test_contrib_active_is_not_doubled(
    spans: SpanRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """Where contrib instruments the same side already, that is said once and nothing is traced twice."""
    from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient

    GrpcInstrumentorClient().instrument()
    try:
        factory = grpc.insecure_channel
        instrument_grpc_client()
        assert grpc.insecure_channel is factory
        with serving(
            handlers(unary_unary=echo), instrument=lambda server: server
        ) as address:
            plain = grpc.insecure_channel(address)
            channel = instrument_grpc_client(plain)
            assert channel is plain
            assert channel.unary_unary(path("unary_unary"))(b"x") == b"x"
            channel.close()
        assert len(spans) == 1
        assert [r.getMessage() for r in caplog.records].count(
            next(r.getMessage() for r in caplog.records)
        ) == 1
        assert "GrpcInstrumentorClient is active as well as obs-grpc" in caplog.text
    finally:
        GrpcInstrumentorClient().uninstrument()


def test_contrib_activated_later_is_not_doubled(
    spans: SpanRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor is anything traced twice where contrib comes second, as opentelemetry-instrument may have it."""
    from opentelemetry.instrumentation.grpc import GrpcInstrumentorServer

    instrument_grpc_server()
    GrpcInstrumentorServer().instrument()
    try:
        plain = serving(handlers(unary_unary=echo), instrument=lambda server: server)
        with plain as address, grpc.insecure_channel(address) as channel:
            assert channel.unary_unary(path("unary_unary"))(b"x") == b"x"
        wait_for_spans(spans, 1)
        assert "GrpcInstrumentorServer is active as well as obs-grpc" in caplog.text
    finally:
        GrpcInstrumentorServer().uninstrument()


def test_entry_points() -> None:
    """Both groups name what instruments the two sides, and it can be called as its loader does."""
    ours = {
        found.name: found
        for found in entry_points(group="obs_core.instrumentors")
        if found.value.startswith("obs_grpc")
    }
    assert ours["grpc_client"].load() is instrument_grpc_client
    assert ours["grpc_server"].load() is instrument_grpc_server
    for found in entry_points(group="opentelemetry_instrumentor"):
        if found.value.startswith("obs_grpc"):
            instrumentor = found.load()()
            instrumentor.instrument(skip_dep_check=True)
            assert found.name.removeprefix("obs_") in active_instrumentations()
            instrumentor.uninstrument()
            assert found.name.removeprefix("obs_") not in active_instrumentations()


def test_importing_does_not_need_grpc() -> None:
    """Without grpcio the package imports; using it says what to install."""
    code = """
        import sys
        sys.modules["grpc"] = None
        import importlib.util
        find_spec = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *rest: None if name == "grpc" else find_spec(name, *rest)
        del sys.modules["grpc"]
        import obs_grpc
        assert "grpc" not in sys.modules
        try:
            obs_grpc.instrument_grpc_client()
        except ImportError as error:
            print(error)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (
        run.stdout.strip()
        == "obs-grpc needs grpc, which is not installed: pip install 'grpcio<2,>=1.63.2'"
    )


def _channel_or_server(side: str) -> Any:
    if side == "client":
        return grpc.insecure_channel("127.0.0.1:1")
    return grpc.server(futures.ThreadPoolExecutor(1))


@pytest.mark.promise("RPC-01")
@pytest.mark.parametrize("of", ["all", "one", "one of all"])
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_second_call_with_other_options_says_so(side: str, of: str) -> None:
    """The message names them; the same options, and `instrument="auto"`, take what is in place."""
    instrument: Any = {
        "client": instrument_grpc_client,
        "server": instrument_grpc_server,
    }[side]
    uninstrument: Any = {
        "client": uninstrument_grpc_client,
        "server": uninstrument_grpc_server,
    }[side]
    if of != "one":
        instrument(include_message_events=True)
    target = _channel_or_server(side) if of != "all" else None
    first = instrument(target, include_message_events=True)
    assert instrument(target, include_message_events=True) is first
    if of == "all":
        assert instrument() is first
    with pytest.raises(AlreadyConfiguredError, match=r"grpc_.* another exclude: "):
        instrument(target, exclude=["a.B"])
    if of != "one of all":
        uninstrument(target)
        instrument(target, exclude=["a.B"])
        uninstrument(target)
    if of != "all" and side == "client":
        first.close()


@pytest.mark.promise("RPC-01")
def test_the_scope_says_name_version_and_schema(spans: SpanRecorder) -> None:
    """Of each span that is ours, as those of the other packages do."""
    with (
        serving(handlers(unary_unary=echo)) as address,
        instrument_grpc_client(grpc.insecure_channel(address)) as channel,
    ):
        channel.unary_unary(path("unary_unary"))(b"x")
    wait_for_spans(spans, 2)
    scopes = {span.instrumentation_scope for span in spans}
    assert {
        (scope.name, scope.version, scope.schema_url) for scope in scopes if scope
    } == {("obs_grpc", version("obs-grpc"), "https://opentelemetry.io/schemas/1.36.0")}


@pytest.mark.promise("RPC-01")
def test_no_client_span_where_instrumentation_is_suppressed(
    spans: SpanRecorder,
) -> None:
    """OpenTelemetry's `suppress_instrumentation()` silences channels; the server, on threads of its own, goes on."""
    with (
        serving(handlers(unary_unary=echo)) as address,
        instrument_grpc_client(grpc.insecure_channel(address)) as channel,
        suppress_instrumentation(),
    ):
        channel.unary_unary(path("unary_unary"))(b"x")
    wait_for_spans(spans, 1)
    assert [span.kind for span in spans] == [SpanKind.SERVER]
