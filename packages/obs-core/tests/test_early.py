"""The decision about a request, made before a library that traces itself begins."""

from __future__ import annotations

import pytest
from obs_core._provider.provider import SwitchableProvider
from obs_core._provider.resource import ProcessResource
from obs_core.integration import unsampled_context
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

pytestmark = pytest.mark.promise("HTTP-16")


def provider(rate: float, spans: str = "light") -> TracerProvider:
    switchable = SwitchableProvider(ProcessResource({}))
    switchable.sample(rate)
    switchable.make_spans(spans)
    return switchable.provider


def caller(flags: int) -> Context:
    ids = SpanContext(7, 9, is_remote=True, trace_flags=TraceFlags(flags))
    return set_span_in_context(NonRecordingSpan(ids), Context())


@pytest.mark.parametrize("spans", ["light", "sdk"])
def test_a_root_is_sampled_as_decided(spans: str) -> None:
    """Each time that the answer is not "unsampled", the next root is sampled: the sampler is not asked a second time."""
    tracer = provider(0.5, spans).get_tracer("t")
    unsampled = 0
    for _ in range(400):
        found = unsampled_context(tracer, Context())
        if found is None:
            root = tracer.start_span("GET", Context(), SpanKind.SERVER)
            assert root.is_recording()
        else:
            unsampled += 1
            ids = get_current_span(found).get_span_context()
            assert (ids.is_valid, ids.is_remote) == (True, False)
            assert not ids.trace_flags.sampled
    assert 140 <= unsampled <= 260  # six standard deviations


def test_an_id_is_used_once() -> None:
    """The trace id of a decision is that of the next root alone."""
    tracer = provider(0.5).get_tracer("t")
    while unsampled_context(tracer, Context()) is not None:
        pass
    roots = [tracer.start_span("a", Context()) for _ in range(20)]
    traces = {root.get_span_context().trace_id for root in roots}
    assert len(traces) == len(roots)
    assert roots[0].is_recording()


def test_keeps_the_callers_decision() -> None:
    """Below a caller that is not sampled, the trace is the caller's; a sampled caller is left to the spans."""
    tracer = provider(1.0).get_tracer("t")
    found = unsampled_context(tracer, caller(flags=0))
    assert found is not None
    assert get_current_span(found).get_span_context().trace_id == 7
    assert unsampled_context(tracer, caller(flags=1)) is None
    assert unsampled_context(tracer, Context()) is None


def test_asks_no_other_sampler() -> None:
    """With a provider or a sampler of somebody else, the spans decide."""
    foreign = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    assert unsampled_context(foreign, caller(flags=0)) is None
    switchable = SwitchableProvider(ProcessResource({}))
    switchable.sampler.inner = ParentBased(ALWAYS_ON)
    tracer = switchable.provider.get_tracer("t")
    assert unsampled_context(tracer, caller(flags=0)) is None
