"""One id for everything that one request caused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obs_core import CorrelationConfig, correlation_scope, get_correlation_id
from obs_core.integration import (
    attach_correlation,
    correlation_headers,
    is_valid_correlation_id,
    outgoing_context,
)
from obs_core.testing import SpanRecorder
from opentelemetry import baggage, propagate, trace
from opentelemetry.context import Context, attach, detach

CONFIG = CorrelationConfig()


def incoming(
    headers: dict[str, str], context: Context | None = None, **options: object
) -> Context:
    return attach_correlation(
        headers.get, context or Context(), CorrelationConfig(**options)
    )


@pytest.mark.promise("CORE-60")
def test_an_id_is_on_every_span_and_crosses_in_baggage(spans: SpanRecorder) -> None:
    """From a header, through spans and a propagator, out into a header again, unchanged."""
    token = attach(incoming({"X-Request-ID": "req-1"}))
    try:
        with (
            trace.get_tracer("t").start_as_current_span("outer"),
            trace.get_tracer("t").start_as_current_span("inner"),
        ):
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            assert correlation_headers(CONFIG) == {"X-Correlation-ID": "req-1"}
    finally:
        detach(token)
    assert {span.attributes["correlation_id"] for span in spans} == {"req-1"}
    assert get_correlation_id() is None
    received = attach_correlation({}.get, propagate.extract(carrier), CONFIG)
    assert get_correlation_id(received) == "req-1"


@pytest.mark.promise("CORE-60")
def test_the_first_valid_header_wins_then_baggage_then_a_new_id() -> None:
    """An invalid one is replaced, never echoed."""
    carried = baggage.set_baggage("correlation_id", "from-baggage")
    both = {"X-Correlation-ID": "one", "X-Request-ID": "two"}
    assert get_correlation_id(incoming(both, carried)) == "one"
    assert (
        get_correlation_id(incoming({**both, "X-Correlation-ID": "bad id"}, carried))
        == "two"
    )
    assert get_correlation_id(incoming({}, carried)) == "from-baggage"
    assert is_valid_correlation_id(
        get_correlation_id(incoming({"X-Correlation-ID": "<script>"}))
    )
    assert "script" not in str(
        get_correlation_id(incoming({"X-Correlation-ID": "<script>"}))
    )


@pytest.mark.promise("CORE-60")
def test_without_generation_an_invalid_id_is_taken_out() -> None:
    """So that foreign rubbish does not travel on."""
    foreign = baggage.set_baggage("correlation_id", "bad id")
    context = incoming({}, foreign, generate_id=False)
    assert baggage.get_baggage("correlation_id", context) is None
    assert correlation_headers(CONFIG, context) == {}


@pytest.mark.promise("CORE-60")
def test_propagation_off_writes_no_header() -> None:
    """Neither one of its own nor baggage; what else is in the baggage travels, and the id stays on spans and logs."""
    off = CorrelationConfig(propagation=False)
    with correlation_scope("abc"):
        assert correlation_headers(off) == {}
        context = baggage.set_baggage("tenant", "t-1")
        assert baggage.get_all(outgoing_context(context, off)) == {"tenant": "t-1"}
        assert baggage.get_all(outgoing_context(context))["correlation_id"] == "abc"
        assert get_correlation_id() == "abc"
        assert correlation_headers(CorrelationConfig(headers=["X-Mine"])) == {
            "X-Mine": "abc"
        }


@pytest.mark.promise("CORE-60")
def test_a_scope_keeps_makes_or_replaces_the_id() -> None:
    """For whatever has no integration; undone at its end."""
    with correlation_scope() as made, correlation_scope() as kept:
        assert made == kept == get_correlation_id()
        with correlation_scope("other"):
            assert get_correlation_id() == "other"
        with correlation_scope("bad\nid") as replaced:
            assert is_valid_correlation_id(replaced)
            assert replaced != made
    assert get_correlation_id() is None


@pytest.mark.promise("CORE-60")
@given(st.text(max_size=140))
def test_no_text_gets_through_unless_it_is_harmless(text: str) -> None:
    """1 to 128 of ``A-Z a-z 0-9 . _ : / + = @ -``, nothing else, no trailing newline."""
    allowed = set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/+=@-"
    )
    harmless = 0 < len(text) <= 128 and set(text) <= allowed
    assert is_valid_correlation_id(text) is harmless
    assert (
        get_correlation_id(incoming({"X-Correlation-ID": text})) == text
    ) is harmless


def test_an_id_that_looks_valid_but_ends_in_a_newline_is_not() -> None:
    """`$` would let it pass, and it forges a log line."""
    assert not is_valid_correlation_id("abc\n")
    assert not is_valid_correlation_id(None)
