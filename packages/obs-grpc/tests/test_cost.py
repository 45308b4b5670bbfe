"""What a unary call costs beside contrib's, in function calls of both ends: a count that no busy machine changes.

Times are measured by ``benchmarks/grpc_overhead.py``; these bounds keep them from growing unseen.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from obs_grpc import instrument_grpc_client, instrument_grpc_server
from opentelemetry.instrumentation.grpc import client_interceptor, server_interceptor
from opentelemetry.instrumentation.grpc.grpcext import intercept_channel
from opentelemetry.sdk.trace import TracerProvider

from tests.call_counts import (
    function_calls,
    need_newest_contrib,
    our_provider,
    sdk_provider,
)

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="a running thread cannot be profiled"
)
RUNS = 40  # how often gRPC's threads wake up differs from call to call


def echo(request: bytes, context: Any) -> bytes:
    return request


def calls(contestant: str, provider: TracerProvider) -> int:
    """Count the calls of both ends for an RPC."""
    interceptors = [server_interceptor(provider)] if contestant == "contrib" else []
    server = grpc.server(ThreadPoolExecutor(1), interceptors=interceptors)
    methods = {"UnaryUnary": grpc.unary_unary_rpc_method_handler(echo)}
    if contestant == "ours":
        instrument_grpc_server(server, tracer_provider=provider)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("cost.Echo", methods)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    channel = plain = grpc.insecure_channel(f"127.0.0.1:{port}")
    if contestant == "contrib":
        channel = intercept_channel(plain, client_interceptor(provider))
    elif contestant == "ours":
        channel = instrument_grpc_client(plain, tracer_provider=provider)
    call = channel.unary_unary("/cost.Echo/UnaryUnary")
    try:
        return function_calls(
            lambda: call(b"x"),
            provider,
            runs=RUNS,
            listen=threading.setprofile_all_threads,
        )
    finally:
        plain.close()
        server.stop(None).wait()


@pytest.mark.promise("RPC-10")
@pytest.mark.parametrize(
    ("rate", "bound"), [(1.0, 0.6), (0.0, 0.6)], ids=["sampled", "unsampled"]
)
def test_calls_beside_contribs(rate: float, bound: float) -> None:
    """Hardly more than half of contrib's, as a service has both: contrib on the SDK's provider, ours on ours."""
    need_newest_contrib()
    bare, theirs = (calls(name, sdk_provider(rate)) for name in ("bare", "contrib"))
    mine = calls("ours", our_provider(rate))
    assert 0 < mine - bare <= bound * (theirs - bare)
