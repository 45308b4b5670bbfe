"""A request through FastAPI and Celery that asks two models by their own clients, as docs/self-traced.md shows it."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from obs_core.testing import OtlpSink, SinkSpan, render_tree

from tests.services import celery_worker, free_port, wait_for_port

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs" / "self-traced.md"
SHOWN = ("http.response.status_code", "gen_ai.usage.input_tokens")


@contextmanager
def served(app: str, **told: str) -> Iterator[str]:
    """Run uvicorn with `app` until the end of the block; yield its address."""
    port = free_port()
    served = (f"llm_service:{app}", "--port", str(port), "--log-level", "warning")
    environment = {**os.environ, **told, "OTEL_SERVICE_NAME": app}
    command = [sys.executable, "-m", "uvicorn", *served]
    with subprocess.Popen(command, cwd=FOLDER, env=environment) as process:
        try:
            wait_for_port(port, 60)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def one_request(tracing: str, redis_url: str) -> list[SinkSpan]:
    """Send a request through the three processes; return its spans."""
    with ExitStack() as stack:
        sink = stack.enter_context(OtlpSink())
        told = {
            "TRACING": tracing,
            "REDIS_URL": redis_url,
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": sink.url,
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        }
        told["MODELS_URL"] = stack.enter_context(served("models", **told))
        url = stack.enter_context(served("app", **told))
        worker = celery_worker(
            *("llm_service:celery", "--concurrency", "1"),
            folder=FOLDER,
            **told,
            OTEL_SERVICE_NAME="worker",
        )
        stack.enter_context(worker)
        request = urllib.request.Request(f"{url}/answers", method="POST")
        assert urllib.request.urlopen(request, timeout=60).read() == b'"Hello"'
        return sink.wait_for(have_arrived, 90)


def have_arrived(spans: list[SinkSpan]) -> bool:
    """Whether both models have been asked, and whoever asked them is done."""
    known = {span.span_id for span in spans}
    complete = all(not span.parent_id or span.parent_id in known for span in spans)
    served = {span.name for span in spans if span.kind == "SERVER"}
    return complete and len(served) == 3


def without_inner(spans: list[SinkSpan]) -> list[SinkSpan]:
    """Leave FastAPI's own steps out: what is below them is below the request."""
    known = {span.span_id: span for span in spans}

    def parent(span: SinkSpan) -> int:
        above = known.get(span.parent_id)
        inner = above is not None and above.kind == "INTERNAL"
        return parent(above) if above and inner else span.parent_id

    outer = [span for span in spans if span.kind != "INTERNAL"]
    return [replace(span, parent_id=parent(span)) for span in outer]


@pytest.mark.timeout(300)
@pytest.mark.promise("HTTP-13", "HTTP-14")
@pytest.mark.parametrize(("tracing", "traces"), [("contrib", 2), ("ours", 1)])
def test_the_models_of_a_request_are_in_its_trace(
    tracing: str, traces: int, redis_url: str
) -> None:
    """With contrib, openai's call has no CLIENT span, and what it asks for is a trace of its own."""
    pytest.importorskip("httpx2")
    spans = without_inner(one_request(tracing, redis_url))
    tree = render_tree(spans, attributes=SHOWN)
    print(f"\n{tracing}\n{tree}")
    assert len({span.trace_id for span in spans}) == traces
    assert f"```text\n{tree}\n```" in PAGE.read_text(encoding="utf-8")
