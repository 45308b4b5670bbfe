"""What a decorated call costs, beside the peers, in one run.

Each contestant has a process of its own (they fight for global state), and all are asked for a round in turn, so that a busy
moment of the machine hits them alike. Figures are medians over the rounds, in µs of the calling thread's CPU time a call;
ratios are medians of each round's ratio.

    python benchmarks/decorators.py [--rounds 15] [--calls 2000]

Needs: obs-core, logfire, ddtrace, sentry-sdk, traceloop-sdk. A peer that is not installed is left out, and named.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from time import thread_time
from typing import Any

from turns import Measure, answer, contend

STATES = ("no provider", "not sampled", "sampled", "production mix")
CONTESTANTS = (
    "sdk",
    "ours",
    "otel",
    "otel_attributes",
    "logfire",
    "ddtrace",
    "sentry",
    "traceloop",
)
CHUNK = 500  # calls below one parent; sentry keeps at most 1,000 spans a transaction
CHILDREN, RATE = 20, 0.1
ATTRIBUTES = {
    "code.function.name": "__main__.child",
    "code.file.path": __file__,
    "code.line.number": 40,
}

Call = Callable[[int], int]
Decorate = Callable[[Call], Call]
Parent = Callable[[], AbstractContextManager[Any]]


def child(x: int) -> int:
    return x


def rate(state: str) -> float:
    return {"not sampled": 0.0, "production mix": RATE}.get(state, 1.0)


def opentelemetry_provider(state: str) -> Parent:
    """Set a provider up; return what opens the parent."""
    if state == "no provider":
        return nullcontext
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    trace.set_tracer_provider(
        TracerProvider(sampler=ParentBased(TraceIdRatioBased(rate(state))))
    )
    return lambda: trace.get_tracer("root").start_as_current_span("parent")


def sdk(state: str) -> tuple[Decorate, Parent]:
    """The floor: the SDK's span alone, with our attributes, current for nobody."""
    from opentelemetry import trace

    parent = opentelemetry_provider(state)
    tracer = trace.get_tracer("sdk")

    def decorate(function: Call) -> Call:
        def call(x: int) -> int:
            span = tracer.start_span("__main__.child", attributes=ATTRIBUTES)
            result = function(x)
            span.end()
            return result

        return call

    return decorate, parent


def ours(state: str) -> tuple[Decorate, Parent]:
    """As set up for a service, correlation ids included; nothing is exported, as with the others."""
    from obs_core import TracingConfig, setup_tracing, trace_function
    from opentelemetry import trace

    if state == "no provider":
        return trace_function, nullcontext
    os.environ["OTEL_TRACES_EXPORTER"] = "none"
    setup_tracing(TracingConfig(service_name="benchmark", sampling_rate=rate(state)))
    return trace_function, lambda: trace.get_tracer("root").start_as_current_span(
        "parent"
    )


def otel(state: str) -> tuple[Decorate, Parent]:
    from opentelemetry import trace

    parent = opentelemetry_provider(state)
    return trace.get_tracer("otel").start_as_current_span("child"), parent


def otel_attributes(state: str) -> tuple[Decorate, Parent]:
    """OpenTelemetry's decorator, given our attributes by hand."""
    from opentelemetry import trace

    parent = opentelemetry_provider(state)
    return trace.get_tracer("otel").start_as_current_span(
        "child", attributes=ATTRIBUTES
    ), parent


def logfire(state: str) -> tuple[Decorate, Parent]:
    import logfire

    if state != "no provider":
        logfire.configure(
            send_to_logfire=False,
            console=False,
            sampling=logfire.SamplingOptions(head=rate(state)),
        )
    return logfire.instrument("child", extract_args=False), lambda: logfire.span(
        "parent"
    )


def ddtrace(state: str) -> tuple[Decorate, Parent]:
    os.environ["DD_TRACE_ENABLED"] = str(state != "no provider").lower()
    os.environ["DD_TRACE_SAMPLING_RULES"] = f'[{{"sample_rate": {rate(state)}}}]'
    os.environ["DD_INSTRUMENTATION_TELEMETRY_ENABLED"] = os.environ[
        "DD_REMOTE_CONFIGURATION_ENABLED"
    ] = "false"
    from ddtrace.trace import TraceFilter, tracer

    class Nowhere(TraceFilter):
        def process_trace(self, trace: Any) -> None:
            return None

    tracer.configure(trace_processors=[Nowhere()])
    return tracer.wrap("child"), lambda: tracer.trace("parent")


def sentry(state: str) -> tuple[Decorate, Parent]:
    import sentry_sdk

    if state == "no provider":
        return sentry_sdk.trace, nullcontext

    class Nowhere(sentry_sdk.transport.Transport):
        def capture_envelope(self, envelope: Any) -> None:
            pass

    sentry_sdk.init(
        dsn="http://k@127.0.0.1:9/1",
        transport=Nowhere,
        traces_sample_rate=rate(state),
        default_integrations=False,
    )
    return sentry_sdk.trace, lambda: sentry_sdk.start_transaction(name="parent")


def traceloop(state: str) -> tuple[Decorate, Parent]:
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    from traceloop.sdk import Traceloop
    from traceloop.sdk.decorators import task

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    if state == "no provider":
        return task(name="child"), nullcontext
    sampler = ParentBased(TraceIdRatioBased(rate(state)))
    Traceloop.init(
        exporter=Nowhere(), sampler=sampler, telemetry_enabled=False, instruments=set()
    )
    return task(name="child"), lambda: trace.get_tracer("root").start_as_current_span(
        "parent"
    )


def round_of(call: Call, parent: Parent, calls: int) -> float:
    """Return µs a call; the parents are not counted."""
    spent = 0.0
    for _ in range(calls // CHUNK):
        with parent():
            start = thread_time()
            for x in range(CHUNK):
                call(x)
            spent += thread_time() - start
    return spent / (calls // CHUNK * CHUNK) * 1e6


def mixed_round_of(root: Call, parent: Parent, calls: int) -> float:
    """Return µs a call, where each decorated root, sampled at the rate, makes a few decorated calls; the root is in it."""
    start = thread_time()
    for x in range(calls // CHILDREN):
        with parent():
            root(x)
    return (thread_time() - start) / (calls // CHILDREN * CHILDREN) * 1e6


def mixed(decorate: Decorate, contestant: str, parent: Parent) -> tuple[Call, Parent]:
    """Return a decorated root of decorated calls; only sentry needs a transaction around it, for it makes none itself."""
    call = decorate(child)

    def root(x: int) -> int:
        for y in range(CHILDREN):
            call(y)
        return x

    return decorate(root), parent if contestant == "sentry" else nullcontext


def work(contestant: str, state: str, calls: int) -> Measure:
    """Set a contestant up; return what measures a round."""
    decorate, parent = globals()[contestant](state)
    call, measure = decorate(child), round_of
    if state == "production mix":
        measure = mixed_round_of
        call, parent = mixed(decorate, contestant, parent)
    return lambda: (measure(call, parent, calls),)


def contend_in(state: str, rounds: int, calls: int) -> dict[str, list[float]]:
    """Return each contestant's figures, round by round."""
    command = [
        sys.executable,
        __file__,
        "--calls",
        str(calls),
        "--state",
        state,
        "--worker",
    ]
    settings = {
        "TRACELOOP_TELEMETRY": "false",
        "LOGFIRE_IGNORE_NO_CONFIG": "1",
        "DD_TRACE_LOG_LEVEL": "ERROR",
    }
    figures = contend(command, CONTESTANTS, rounds, **settings)
    return {name: [figure for (figure,) in taken] for name, taken in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--state", default=STATES[0])
    parser.add_argument("--worker")
    options = parser.parse_args()
    if options.worker:
        return answer(lambda: work(options.worker, options.state, options.calls))
    print(
        "| µs a call | "
        + " | ".join(CONTESTANTS)
        + " | ours / sdk | cheapest peer / ours |"
    )
    print("|---|" + "---:|" * (len(CONTESTANTS) + 2))
    for state in STATES:
        figures = contend_in(state, options.rounds, options.calls)
        cells = [
            f"{median(figures[name]):.2f}" if name in figures else "no"
            for name in CONTESTANTS
        ]
        peers = [
            figures[name]
            for name in figures
            if name not in ("sdk", "ours", "otel_attributes")
        ]
        floor = median(
            mine / base
            for mine, base in zip(figures["ours"], figures["sdk"], strict=True)
        )
        cheapest = min(peers, key=median)
        lead = median(
            peer / mine for peer, mine in zip(cheapest, figures["ours"], strict=True)
        )
        print(
            f"| {state} | " + " | ".join(cells) + f" | {floor:.2f} | {lead:.1f} |",
            flush=True,
        )
    return None


if __name__ == "__main__":
    main()
