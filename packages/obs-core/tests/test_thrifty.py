"""Below a span that is not sampled, a tracer asks neither the sampler nor for ids; elsewhere it does what the SDK's does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from obs_core._provider.provider import SwitchableProvider
from obs_core._provider.resource import ProcessResource
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
)

pytestmark = pytest.mark.promise("CORE-04")
TRACE, SPAN = 0x5CE0E9A56015FEC5AADFA328AE398115, 0xAB54A98CEB1F0AD2
ASKED: list[str] = []


@pytest.fixture
def tracer() -> trace.Tracer:
    """A tracer of a set-up that samples everything that has no parent; `ASKED` has each span its sampler decided on."""
    switchable = SwitchableProvider(ProcessResource({}))
    switchable.sample(1.0)
    decide = switchable.sampler.inner

    class Asked(Sampler):
        def should_sample(
            self, parent: Context | None, trace_id: int, name: str, *rest: Any
        ) -> Any:
            ASKED.append(name)
            return decide.should_sample(parent, trace_id, name, *rest)

        def get_description(self) -> str:
            return decide.get_description()

    switchable.sampler.inner = Asked()
    ASKED.clear()
    return switchable.provider.get_tracer("test")


def below(*, sampled: bool = False, remote: bool = False) -> Context:
    """A context whose current span does not record."""
    state = TraceState([("vendor", "x")])
    context = SpanContext(TRACE, SPAN, remote, TraceFlags(int(sampled)), state)
    return trace.set_span_in_context(NonRecordingSpan(context), Context())


def test_below_an_unsampled_span_nobody_is_asked(tracer: trace.Tracer) -> None:
    """What is started there has its parent's trace, tracestate and decision, however it is started."""
    span = tracer.start_span("a", below())
    found = span.get_span_context()
    assert not span.is_recording()
    assert (found.trace_id, found.trace_flags, found.trace_state.get("vendor")) == (
        TRACE,
        0,
        "x",
    )
    with trace.use_span(span), tracer.start_as_current_span("b") as inner:
        assert inner.get_span_context().trace_id == TRACE
    assert ASKED == []


@pytest.mark.promise("HTTP-15")
@pytest.mark.parametrize("kind", [SpanKind.CLIENT, SpanKind.PRODUCER])
def test_each_outgoing_call_has_a_parent_id_of_its_own(
    tracer: trace.Tracer, kind: SpanKind
) -> None:
    """W3C Trace Context asks for a new one with each request."""
    calls = [
        tracer.start_span("call", below(), kind).get_span_context() for _ in range(2)
    ]
    calls += [tracer.start_span("call", kind=kind, context=below()).get_span_context()]
    assert {
        (call.trace_id, call.trace_flags, call.trace_state["vendor"]) for call in calls
    } == {(TRACE, 0, "x")}
    assert len({SPAN, *(call.span_id for call in calls)}) == 4
    assert ASKED == []


def test_elsewhere_it_is_the_sdks(tracer: trace.Tracer) -> None:
    """A root, a child of a sampled span, of a sampled caller and of an unsampled caller each have ids of their own."""
    assert isinstance(tracer, sdk.Tracer)
    with tracer.start_as_current_span("root") as root:
        child = tracer.start_span("child")
    callee = tracer.start_span("callee", below(sampled=True, remote=True))
    unsampled = tracer.start_span("unsampled callee", below(remote=True))
    assert ASKED == ["root", "child", "callee", "unsampled callee"]
    assert [span.is_recording() for span in (child, callee, unsampled)] == [
        True,
        True,
        False,
    ]
    contexts = [span.get_span_context() for span in (root, child, callee, unsampled)]
    assert len({context.span_id for context in contexts} | {SPAN}) == 5
    assert [context.is_remote for context in contexts] == [False] * 4


def test_a_given_context_counts_and_not_the_current_one(tracer: trace.Tracer) -> None:
    """Both ways round."""
    with tracer.start_as_current_span("sampled"):
        assert not tracer.start_span("a", below()).is_recording()
    with trace.use_span(trace.get_current_span(below())):
        assert tracer.start_span("b", Context()).is_recording()
        assert not tracer.start_span("c").is_recording()


def test_decorators_decide_at_each_call(tracer: trace.Tracer) -> None:
    """What `start_as_current_span` decorates, sync or async, is below the span of the call and not of the import."""
    with trace.use_span(trace.get_current_span(below())):

        @tracer.start_as_current_span("sync")
        def sync() -> bool:
            return trace.get_current_span().is_recording()

        @tracer.start_as_current_span("async")
        async def asynchronous() -> bool:
            return trace.get_current_span().is_recording()

        assert not sync()
    assert sync()
    assert asyncio.run(asynchronous())


def test_each_scope_has_its_tracer() -> None:
    """Made thrifty each time that it is asked for; scope and resource are the SDK's."""
    switchable = SwitchableProvider(ProcessResource({"service.name": "before"}))
    switchable.sample(1.0)
    for _ in range(2):
        made = switchable.provider.get_tracer("scope", "1.0")
        assert made.start_span("a", below()).get_span_context().span_id == SPAN
        span = made.start_span("a", Context())
        assert isinstance(span, sdk.ReadableSpan)
        assert span.instrumentation_scope is not None
        assert (
            span.instrumentation_scope.name,
            span.instrumentation_scope.version,
        ) == (
            "scope",
            "1.0",
        )
        assert span.resource is switchable.provider.resource
