"""A unary call on loopback, both ends traced: bare, with contrib, with obs-grpc; sampled and unsampled, in one run.

``python benchmarks/grpc_overhead.py [rounds] [calls a round]``. Every contestant has a server and a channel of its own, in this
process;
the contestants take turns round by round, and the figures are medians over rounds: microseconds a call, and what tracing adds
as a share of what contrib adds.
"""

from __future__ import annotations

import statistics
import sys
from concurrent import futures
from pathlib import Path
from time import perf_counter
from typing import Any

# this file is called grpc.py: run as a script, its own folder must not be where "grpc" is looked for
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import grpc  # noqa: E402
from obs_grpc import instrument_grpc_client, instrument_grpc_server  # noqa: E402
from opentelemetry.instrumentation.grpc import client_interceptor, server_interceptor  # noqa: E402
from opentelemetry.instrumentation.grpc.grpcext import intercept_channel  # noqa: E402
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON  # noqa: E402

METHOD = "/bench.Echo/UnaryUnary"


def echo(request: bytes, context: Any) -> bytes:
    return request


class Contestant:
    def __init__(self, name: str, provider: TracerProvider | None) -> None:
        self.name = name
        interceptors = [server_interceptor(provider)] if name == "contrib" else []
        self.server = grpc.server(futures.ThreadPoolExecutor(2), interceptors=interceptors)
        if name == "obs-grpc":
            instrument_grpc_server(self.server, tracer_provider=provider)
        methods = {"UnaryUnary": grpc.unary_unary_rpc_method_handler(echo)}
        self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench.Echo", methods)])
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        if name == "contrib":
            channel = intercept_channel(channel, client_interceptor(provider))
        elif name == "obs-grpc":
            channel = instrument_grpc_client(channel, tracer_provider=provider)
        self.channel = channel
        self.call = channel.unary_unary(METHOD)

    def round(self, calls: int) -> float:
        """Return the mean time of a call in microseconds."""
        call = self.call
        start = perf_counter()
        for _ in range(calls):
            call(b"x")
        return (perf_counter() - start) / calls * 1e6

    def close(self) -> None:
        self.channel.close()
        self.server.stop(None).wait()


def provider(sampled: bool) -> TracerProvider:
    """Return a provider with a processor that does nothing: what is measured is instrumentation and SDK, no export."""
    made = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF)
    made.add_span_processor(SpanProcessor())
    return made


def main(rounds: int, calls: int) -> None:
    print(f"{'':10} {'bare':>8} {'contrib':>8} {'obs-grpc':>8}   added, share of contrib's")
    for sampled in (True, False):
        contestants = [
            Contestant("bare", None),
            Contestant("contrib", provider(sampled)),
            Contestant("obs-grpc", provider(sampled)),
        ]
        for contestant in contestants:
            contestant.round(calls)
        times = [[contestant.round(calls) for contestant in contestants] for _ in range(rounds)]
        for contestant in contestants:
            contestant.close()
        bare, contrib, ours = (statistics.median(column) for column in zip(*times, strict=True))
        share = statistics.median((row[2] - row[0]) / (row[1] - row[0]) for row in times)
        print(f"{'sampled' if sampled else 'unsampled':10} {bare:8.0f} {contrib:8.0f} {ours:8.0f}   {share:.2f}")


if __name__ == "__main__":
    main(*(int(argument) for argument in (sys.argv[1:] + ["25", "400"][len(sys.argv) - 1 :])))
