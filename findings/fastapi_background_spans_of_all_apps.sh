#!/usr/bin/env bash
# opentelemetry-instrumentation-fastapi 0.66b2, opentelemetry-sdk 1.45.2, fastapi 0.165.0, starlette 1.10.0.
#
# FastAPIInstrumentor.instrument_app(app), which names one app, also replaces BackgroundTask.__call__ of Starlette for
# the whole process, with the first app's tracer. The tasks of a second app that has a tracer provider of its own, and
# of one that was never instrumented, are recorded by the first app's provider. When the first app is uninstrumented,
# the second, still instrumented, has no spans of its tasks at all.
#
# Expected by most: instrument_app(app, tracer_provider=…) touches that app only; instrument() is there for all.
#
# Output seen:
#   both: first ['BackgroundTask of_second', 'BackgroundTask of_bare'], second []
#   first uninstrumented: first [], second []
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opentelemetry-instrumentation-fastapi==0.66b2 opentelemetry-sdk==1.45.2 \
    fastapi==0.165.0 starlette==1.10.0 httpx==0.28.1
"$folder/venv/bin/python" -W ignore - <<'PROGRAM'
from fastapi import BackgroundTasks, FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient


def app_with(name):
    app = FastAPI()

    def task(): ...

    task.__name__ = name

    @app.get("/")
    async def endpoint(tasks: BackgroundTasks):
        tasks.add_task(task)

    return app


def run():
    for app in (second, bare):
        TestClient(app).get("/")
    names = [[s.name for s in m.get_finished_spans() if "Background" in s.name] for m in memories]
    [memory.clear() for memory in memories]
    return names


first, second, bare = FastAPI(), app_with("of_second"), app_with("of_bare")
memories = InMemorySpanExporter(), InMemorySpanExporter()
for app, memory in zip((first, second), memories):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
both = run()
print(f"both: first {both[0]}, second {both[1]}")
FastAPIInstrumentor.uninstrument_app(first)
after = run()
print(f"first uninstrumented: first {after[0]}, second {after[1]}")
assert both == [["BackgroundTask of_second", "BackgroundTask of_bare"], []], both
assert after == [[], []], after
PROGRAM
