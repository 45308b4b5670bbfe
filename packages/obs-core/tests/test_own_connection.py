"""Over gRPC no exporter waits for the pause before another one's next connection."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from inspect import signature
from typing import Any

import grpc
import pytest
from obs_core import TracingConfig
from obs_core._config.settings import Settings, resolve
from obs_core._export.exporters import build_exporter, exporter_type
from obs_core._export.signals import is_success
from obs_core.testing import wait_until

pytestmark = pytest.mark.promise("CORE-38")


class AnyService(grpc.GenericRpcHandler):
    """Takes everything."""

    def service(self, _: object) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(lambda *_: b"")


@contextmanager
def collector(port: int) -> Iterator[None]:
    """A server on `port` until the end of the block."""
    server = grpc.server(ThreadPoolExecutor(1), handlers=[AnyService()])
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    server.start()
    yield
    server.stop(None).wait(5)


def settings_for(port: int) -> Settings:
    """The settings for a collector on `port`."""
    config = TracingConfig(
        service_name="s",
        collector_url=f"http://127.0.0.1:{port}",
        collector_protocol="grpc",
    )
    return resolve(config, {})


def test_a_signal_does_not_wait_for_another_one_s_pause() -> None:
    """Whose attempts to connect have failed for a while, so that gRPC pauses for seconds."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
    settings = settings_for(port)
    exporter: Any = build_exporter(settings)
    if "channel_options" not in signature(exporter_type(settings)).parameters:
        pytest.skip("this version of OpenTelemetry takes no options for the channel")
    ours = dict(exporter._channel_options)
    assert ours.pop("grpc.use_local_subchannel_pool")
    plain = grpc.Compression.NoCompression
    compression = getattr(exporter, "_compression", plain)
    with grpc.insecure_channel(
        f"127.0.0.1:{port}", list(ours.items()), compression
    ) as other:
        states: list[grpc.ChannelConnectivity] = []
        other.subscribe(states.append, try_to_connect=True)
        wait_until(lambda: grpc.ChannelConnectivity.TRANSIENT_FAILURE in states)
        time.sleep(3.3)  # gRPC has tried twice more; the next attempt is a second away
        with collector(port):
            assert is_success(exporter.export([]))
            assert grpc.ChannelConnectivity.READY not in states
            exporter.shutdown()
