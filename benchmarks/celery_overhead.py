"""What tracing adds to a Celery publish and execution: obs-celery against its peers, side by side in one run.

    python benchmarks/celery_overhead.py [rounds]

Needs ``obs-celery[instruments]`` and, for each peer that is to take part, opentelemetry-instrumentation-celery, sentry-sdk,
ddtrace. Ours runs on the provider of a set-up, contrib on the SDK's.
Every contestant runs in processes of its own, round by round in turn, so that a busy machine hits them alike;
the figure is the least of all rounds, minus that of a process without any tracing.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from table import head, row

CONTESTANTS = {
    "bare": "celery",
    "ours": "obs_celery",
    "contrib": "opentelemetry.instrumentation.celery",
}
CONTESTANTS |= {"sentry": "sentry_sdk", "ddtrace": "ddtrace"}
OPERATIONS = 1500
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"


def provider() -> None:
    """Set the SDK's provider, with nobody listening: the cost of export is not the instrumentation's."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    trace.set_tracer_provider(TracerProvider())


def set_up(contestant: str, sampled: bool) -> None:
    """Switch one contestant's tracing on."""
    if contestant == "ours":
        from obs_celery import instrument_celery
        from providers import our_provider

        our_provider(float(sampled))
        instrument_celery()
    elif contestant == "contrib":
        provider()
        from opentelemetry.instrumentation.celery import CeleryInstrumentor

        CeleryInstrumentor().instrument()
    elif contestant == "sentry":
        import sentry_sdk
        from sentry_sdk.integrations.celery import CeleryIntegration
        from sentry_sdk.transport import Transport

        class Discarding(Transport):
            def capture_envelope(self, envelope: Any) -> None:
                pass

        sentry_sdk.init("http://k@127.0.0.1:9/1", transport=Discarding, traces_sample_rate=float(sampled),
                        integrations=[CeleryIntegration()], default_integrations=False)  # fmt: skip
    elif contestant == "ddtrace":
        os.environ.update(
            DD_TRACE_SAMPLE_RATE=str(int(sampled)),
            DD_REMOTE_CONFIGURATION_ENABLED="false",
        )
        os.environ.update(
            DD_INSTRUMENTATION_TELEMETRY_ENABLED="false",
            DD_TRACE_AGENT_URL="http://127.0.0.1:9",
        )
        from ddtrace import patch

        patch(celery=True)


def measure(contestant: str, sampled: bool) -> dict[str, float]:
    """Return µs a publish and a execution, the least of many short runs."""
    logging.disable(logging.CRITICAL)
    set_up(contestant, sampled)
    from celery import Celery
    from celery.app import trace as celery_trace

    app = Celery("bench", broker="memory://localhost")
    app.conf.task_ignore_result = True

    @app.task(name="bench.work")
    def work() -> None:
        pass

    app.finalize()
    run = celery_trace.build_tracer("bench.work", app.tasks["bench.work"], app=app)
    headers = (
        {"traceparent": f"{TRACEPARENT}{int(sampled)}"}
        if contestant in ("ours", "contrib")
        else {}
    )
    message = app.amqp.create_task_message(
        "an-id", "bench.work", root_id="a-root", parent_id="a-parent"
    )
    delivery = {
        "exchange": "",
        "routing_key": "celery",
        "priority": 0,
        "redelivered": False,
    }
    properties = {
        "delivery_info": delivery,
        "reply_to": "a-queue",
        "correlation_id": "an-id",
    }
    request = {
        **message.headers,
        **properties,
        **headers,
        "args": (),
        "kwargs": {},
        "is_eager": False,
    }

    producer = Nowhere(app)

    def publish() -> None:
        app.send_task("bench.work", producer=producer)

    def execute() -> None:
        run("an-id", (), {}, {**request, "hostname": "worker@host"})

    with parent(contestant, sampled):
        published = least(publish)
    return {"publish": published, "execute": least(execute)}


class Nowhere:
    """A producer whose publish takes no time: the broker is left out of the figures."""

    def __init__(self, app: Any) -> None:
        self.connection = app.connection_for_write()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def publish(self, *_: object, **__: object) -> None:
        pass


def parent(contestant: str, sampled: bool) -> Any:
    """Return what a request handler would have current."""
    from contextlib import nullcontext

    if contestant in ("ours", "contrib"):
        from opentelemetry import trace

        context = trace.SpanContext(1, 2, True, trace.TraceFlags(int(sampled)))
        return trace.use_span(trace.NonRecordingSpan(context))
    if contestant == "sentry":
        import sentry_sdk

        return sentry_sdk.start_transaction(name="request")
    if contestant == "ddtrace":
        from ddtrace.trace import tracer

        return tracer.trace("request")
    return nullcontext()


def least(operation: Callable[[], None], runs: int = 15) -> float:
    """Return the least average of `runs`, in µs."""
    best = float("inf")
    for _ in range(runs):
        begin = time.thread_time()
        for _ in range(OPERATIONS // runs):
            operation()
        best = min(best, (time.thread_time() - begin) / (OPERATIONS // runs) * 1e6)
    return best


def main(rounds: int) -> None:
    """Run everyone in turn and print the table."""
    present = [
        name
        for name, module in CONTESTANTS.items()
        if find_spec(module.partition(".")[0]) and _importable(module)
    ]
    rounds_of: dict[str, list[dict[str, float]]] = {}
    for number in range(rounds):
        for name in present:
            for sampled in ("sampled", "unsampled"):
                command = [
                    sys.executable,
                    __file__,
                    "--one",
                    name,
                    str(int(sampled == "sampled")),
                ]
                output = subprocess.run(
                    command, capture_output=True, text=True, check=True
                ).stdout
                for kind, value in json.loads(output.splitlines()[-1]).items():
                    taken = rounds_of.setdefault(
                        f"{kind}, {sampled}", [{} for _ in range(rounds)]
                    )
                    taken[number][name] = value
    contestants = [name for name in present if name != "bare"]
    print(head("µs added to an operation", contestants))
    for title, taken in sorted(rounds_of.items(), reverse=True):
        print(row(title, contestants, taken))


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2], sys.argv[3] == "1")))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
