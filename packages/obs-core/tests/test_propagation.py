"""Headers written and read directly are those that the API writes and reads."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obs_core._spans import propagation
from obs_core._spans.light import LightSpan
from opentelemetry import baggage, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, attach, detach
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

pytestmark = pytest.mark.promise("CORE-84")
TEXTS = st.text(max_size=5) | st.sampled_from(
    ["a", "A-1_.", "a b", "ä", "=", ";", ",", "%41", "~"]
)
VALUES = TEXTS | st.integers() | st.just("x" * 5000)
ENTRIES = st.one_of(
    st.dictionaries(TEXTS, VALUES, max_size=3),
    st.dictionaries(st.just("a"), TEXTS, min_size=1),
)
SPANS = st.one_of(
    st.none(),
    st.just("no span"),
    st.builds(
        lambda trace_id, span_id, flags, state: NonRecordingSpan(
            SpanContext(trace_id, span_id, False, TraceFlags(flags), TraceState(state))
        ),
        st.integers(0, 2**129),
        st.integers(0, 2**65),
        st.integers(0, 255),
        st.sampled_from([None, [("vendor", "x")], [("a", "1"), ("b", "2")]]),
    ),
)
HEX = st.text("0123456789abcdef", min_size=32, max_size=32)
TRACEPARENTS = st.one_of(
    st.builds(lambda t, s, f: f"00-{t}-{s[:16]}-{f[:2]}", HEX, HEX, HEX),
    st.sampled_from(
        [
            *("", " ", "00", "garbage", "00-" + "0" * 32 + "-" + "1" * 16 + "-01"),
            *(
                f"{v}-{'a' * 32}-{'b' * 16}-01{end}"
                for v in ("00", "01", "ff")
                for end in ("", "-x", " ", "\n")
            ),
            *(
                "00-" + "A" * 32 + "-" + "b" * 16 + "-01",
                "00-" + "a" * 32 + "-" + "0" * 16 + "-01",
            ),
            "x" * 600,
        ]
    ),
)
BAGGAGE = st.one_of(
    st.builds("{}={}".format, TEXTS, TEXTS),
    TEXTS,
    st.sampled_from(
        ["a=1", "a=1,b=2", "a=1;p=2", " a = 1 ", "a=", "=1", "a=1\n", "a=" + "x" * 5000]
    ),
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "traceparent": TRACEPARENTS | st.lists(TRACEPARENTS, max_size=2),
        "tracestate": st.sampled_from(["", "vendor=x", "bad", ["a=1", "b=2"], []]),
        "baggage": BAGGAGE | st.lists(BAGGAGE, max_size=2),
    },
)


@pytest.fixture(autouse=True)
def default_propagator() -> Iterator[None]:
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(
        CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
    )
    yield
    propagate.set_global_textmap(before)


def seen(call: Any) -> list[Any]:
    """The answer or the error, and the warnings."""
    lines: list[Any] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(handler)
    try:
        return [call(), lines]
    except Exception as error:
        return [type(error), lines]
    finally:
        logger.removeHandler(handler)


def injected(inject: Any, context: Context | None) -> dict[str, str]:
    carrier: dict[str, str] = {}
    inject(carrier, context)
    return carrier


def shown(context: Context) -> Any:
    span = trace.get_current_span(context)
    return (
        type(span),
        tuple(span.get_span_context()),
        dict(baggage.get_all(context)),
        len(context),
    )


def context_of(span: Any, entries: dict[str, Any]) -> Context:
    context = Context() if span is None else Context({propagation.SPAN_KEY: span})
    for name, value in entries.items():
        context = baggage.set_baggage(name, value, context)
    return context


@settings(max_examples=300, deadline=None)
@given(span=SPANS, entries=ENTRIES)
def test_injects_what_the_api_injects(span: Any, entries: dict[str, Any]) -> None:
    """The same headers in the same order, from a given context and from the current one."""
    context = context_of(span, entries)
    theirs = seen(lambda: list(injected(propagate.inject, context).items()))
    assert seen(lambda: list(injected(propagation.inject, context).items())) == theirs
    token = attach(context)
    try:
        assert seen(lambda: list(injected(propagation.inject, None).items())) == theirs
    finally:
        detach(token)


@settings(max_examples=500, deadline=None)
@given(headers=HEADERS, entries=ENTRIES, is_given=st.booleans())
def test_extracts_what_the_api_extracts(
    headers: Any, entries: Any, is_given: bool
) -> None:
    """The same ids and baggage, on any headers, above any context."""
    context = (
        context_of(NonRecordingSpan(SpanContext(1, 2, False)), entries)
        if is_given
        else None
    )
    theirs = seen(lambda: shown(propagate.extract(headers, context)))
    assert seen(lambda: shown(propagation.extract(headers, context))) == theirs


def test_many_members_are_left_to_the_api() -> None:
    """It counts them, as the W3C asks."""
    context = context_of(None, {f"k{n}": "v" for n in range(200)})
    ours, theirs = (
        injected(propagation.inject, context),
        injected(propagate.inject, context),
    )
    assert ours == theirs


class Own(TextMapPropagator):
    """A propagator of the user."""

    fields = {"x-own"}  # noqa: RUF012 - a property in the base class

    def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
        carrier["x-own"] = "written"

    def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Context:
        return Context({"own": carrier.get("x-own")})


@pytest.mark.parametrize(
    "propagator",
    [
        Own(),
        CompositePropagator([Own()]),
        CompositePropagator(
            [W3CBaggagePropagator(), TraceContextTextMapPropagator(), Own()]
        ),
    ],
)
def test_any_other_propagator_is_asked(propagator: TextMapPropagator) -> None:
    """Also one that is set later."""
    context = context_of(NonRecordingSpan(SpanContext(1, 2, False)), {})
    assert "x-own" not in injected(propagation.inject, context)
    propagate.set_global_textmap(propagator)
    assert injected(propagation.inject, context)["x-own"] == "written"
    assert propagation.extract({"x-own": "read"})["own"] == "read"


def test_injects_the_ids_of_a_light_span() -> None:
    """The usual case."""
    from obs_core._provider.tracers import LightProvider

    span = LightProvider(shutdown_on_exit=False).get_tracer("test").start_span("a")
    assert isinstance(span, LightSpan)
    context = context_of(span, {"correlation_id": "c-1"})
    assert injected(propagation.inject, context) == injected(propagate.inject, context)
