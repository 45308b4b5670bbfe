"""A unary call on loopback, both ends traced: bare, with contrib, with obs-grpc; sampled and unsampled, in one run.

``python benchmarks/grpc_overhead.py [rounds] [calls a round]``. Ours runs on the provider of a set-up, contrib on the SDK's.
Every contestant has a server and a channel of its own, in this
process; the contestants take turns round by round; the figures are medians of CPU time.
"""

from __future__ import annotations

import sys
from concurrent import futures
from statistics import median
from time import process_time
from typing import Any

import grpc
from obs_grpc import instrument_grpc_client, instrument_grpc_server
from opentelemetry.instrumentation.grpc import client_interceptor, server_interceptor
from opentelemetry.instrumentation.grpc.grpcext import intercept_channel
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from providers import our_provider
from table import head, row

METHOD = "/bench.Echo/UnaryUnary"


def echo(request: bytes, context: Any) -> bytes:
    return request


class Contestant:
    def __init__(self, name: str, provider: TracerProvider | None) -> None:
        self.name = name
        interceptors = [server_interceptor(provider)] if name == "contrib" else []
        self.server = grpc.server(
            futures.ThreadPoolExecutor(2), interceptors=interceptors
        )
        if name == "ours":
            instrument_grpc_server(self.server, tracer_provider=provider)
        methods = {"UnaryUnary": grpc.unary_unary_rpc_method_handler(echo)}
        self.server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("bench.Echo", methods)]
        )
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        if name == "contrib":
            channel = intercept_channel(channel, client_interceptor(provider))
        elif name == "ours":
            channel = instrument_grpc_client(channel, tracer_provider=provider)
        self.channel = channel
        self.call = channel.unary_unary(METHOD)

    def round(self, calls: int) -> float:
        """Return the mean CPU time of a call in microseconds, that of both ends and of all of gRPC's threads."""
        call = self.call
        start = process_time()
        for _ in range(calls):
            call(b"x")
        return (process_time() - start) / calls * 1e6

    def close(self) -> None:
        self.channel.close()
        self.server.stop(None).wait()


def provider(sampled: bool) -> TracerProvider:
    """Return a provider with a processor that does nothing: what is measured is instrumentation and SDK, no export."""
    made = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF)
    made.add_span_processor(SpanProcessor())
    return made


def main(rounds: int, calls: int) -> None:
    print(head("µs added to a call, both ends", ["contrib", "ours"]))
    for sampled in (True, False):
        contestants = [
            Contestant("bare", None),
            Contestant("contrib", provider(sampled)),
            Contestant("ours", our_provider(float(sampled))),
        ]
        for contestant in contestants:
            contestant.round(calls)
        taken = [
            {contestant.name: contestant.round(calls) for contestant in contestants}
            for _ in range(rounds)
        ]
        for contestant in contestants:
            contestant.close()
        print(
            row(
                "sampled" if sampled else "unsampled",
                ["contrib", "ours"],
                taken,
                median,
            ),
            flush=True,
        )


if __name__ == "__main__":
    main(
        *(
            int(argument)
            for argument in (sys.argv[1:] + ["60", "200"][len(sys.argv) - 1 :])
        )
    )
