"""Cost of light spans in function calls: a count that no busy machine changes.

Times are measured by ``benchmarks/decorators.py``; these bounds keep the cost from growing unseen.
"""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from obs_core import trace_function
from obs_core._correlation.processor import CorrelationSpanProcessor
from obs_core._provider.provider import SwitchableProvider
from obs_core._provider.resource import ProcessResource
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from tests.call_counts import function_calls

pytestmark = pytest.mark.promise("CORE-84")
ATTRIBUTES: dict[str, Any] = {
    **{f"http.text.{n}": "GET" for n in range(5)},
    "http.status": 200,
    "http.secure": True,
    "http.duration": 0.5,
}


class Keeping(SpanProcessor):
    """Keeps each ended span, as a queue does."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def on_end(self, span: Any) -> None:
        self.kept.append(span)


def our_provider(*processors: SpanProcessor) -> TracerProvider:
    switchable = SwitchableProvider(ProcessResource({}))
    switchable.sample(1.0)
    switchable.pipeline.processors = processors
    return switchable.provider


def sdk_provider(*processors: SpanProcessor) -> TracerProvider:
    sampler = ParentBased(TraceIdRatioBased(1.0))
    provider = TracerProvider(sampler, Resource({}), shutdown_on_exit=False)
    for processor in processors:
        provider.add_span_processor(processor)
    return provider


def started_with_attributes(tracer: Any) -> None:
    tracer.start_span("a", attributes=ATTRIBUTES).end()


def described_one_by_one(tracer: Any) -> None:
    span = tracer.start_span("a")
    for key, value in ATTRIBUTES.items():
        span.set_attribute(key, value)
    span.end()


def current(tracer: Any) -> None:
    with tracer.start_as_current_span("a"):
        pass


@pytest.mark.parametrize(
    ("life", "bound"),
    [(started_with_attributes, 0.32), (described_one_by_one, 0.36), (current, 0.5)],
)
def test_calls_of_a_span_beside_the_sdks(life: Any, bound: float) -> None:
    """A third of the SDK's calls, with the processors of a set-up; half where the context is most of the work."""
    counts = []
    for provider in (sdk_provider(), our_provider(CorrelationSpanProcessor())):
        tracer = provider.get_tracer("test")
        counts.append(function_calls(lambda tracer=tracer: life(tracer), provider))
    theirs, ours = counts
    assert 0 < ours <= bound * theirs


def test_calls_of_a_decorated_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little more than half of what the SDK makes for the span alone, which nothing makes current."""
    ours, theirs = our_provider(CorrelationSpanProcessor()), sdk_provider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", ours)
    call = trace_function(lambda x: x)
    code = {
        "code.function.name": "f",
        "code.file.path": __file__,
        "code.line.number": 1,
    }
    tracer = theirs.get_tracer("test")
    floor = function_calls(
        lambda: tracer.start_span("a", attributes=code).end(), theirs
    )
    mine = function_calls(lambda: call(1), ours)
    assert 0 < mine <= 0.55 * floor


def test_memory_of_a_queued_span() -> None:
    """At most half of the SDK's."""
    sizes = []
    for make in (sdk_provider, our_provider):
        queue = Keeping()
        tracer = make(queue).get_tracer("test")
        started_with_attributes(tracer)
        tracemalloc.start()
        for _ in range(500):
            started_with_attributes(tracer)
        sizes.append(tracemalloc.get_traced_memory()[0] / 500)
        tracemalloc.stop()
    theirs, ours = sizes
    assert 0 < ours <= 0.5 * theirs
