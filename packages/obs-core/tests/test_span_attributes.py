"""`add_span_attributes`: the current span's attributes, and never an exception."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obs_core import add_span_attributes, trace_function
from obs_core.testing import SpanRecorder, record_spans
from opentelemetry import trace


@pytest.mark.promise("CORE-47")
def test_attributes_are_set_on_the_current_span_without_none(
    spans: SpanRecorder,
) -> None:
    """What OpenTelemetry takes is set, None is left out, a later value wins."""

    @trace_function(name="call", attributes={"static": 1})
    async def call() -> None:
        add_span_attributes(
            {
                "text": "a",
                "yes": True,
                "count": 2,
                "ratio": 0.5,
                "tags": ["a", "b"],
                "none": None,
            }
        )
        add_span_attributes({"count": 3, "llm.tokens.total": 12})

    asyncio.run(call())
    attributes = spans.one("call").attributes or {}
    assert {key: value for key, value in attributes.items() if not key.startswith("code.")} == {
        "static": 1, "text": "a", "yes": True, "count": 3, "ratio": 0.5, "tags": ("a", "b"), "llm.tokens.total": 12,
    }  # fmt: skip


@pytest.mark.promise("CORE-47")
@pytest.mark.parametrize(
    "wrong",
    [
        None,
        3,
        "text",
        ["a"],
        {1: 2},
        {"": 1},
        {"a": object()},
        {"a": [1, "b", None]},
        {"a": {"b": 1}},
    ],
)
def test_what_is_no_attribute_never_raises(wrong: Any) -> None:
    """Neither on a recording span, nor on one that does not, nor without any."""
    add_span_attributes(wrong)
    for rate in (1.0, 0.0):
        with (
            record_spans(sampling_rate=rate),
            trace.get_tracer("test").start_as_current_span("span"),
        ):
            add_span_attributes(wrong)


@pytest.mark.promise("CORE-47")
def test_a_mapping_that_raises_is_contained(spans: SpanRecorder) -> None:
    """Even a broken mapping, or a broken value in it, stays out of the way."""

    class Broken(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("no items")

    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError("no words")

    with trace.get_tracer("test").start_as_current_span("span"):
        add_span_attributes(Broken(a=1))
        add_span_attributes({"a": Unprintable()})  # type: ignore[dict-item]
    assert "a" not in (spans.one("span").attributes or {})


@pytest.mark.promise("CORE-47")
@given(
    st.dictionaries(
        st.text(),
        st.one_of(
            st.none(),
            st.text(),
            st.integers(),
            st.lists(st.one_of(st.text(), st.integers())),
        ),
    )
)
def test_any_mapping_is_taken(attributes: Any) -> None:
    """Every value that a caller may compute is taken without a word."""
    with record_spans(), trace.get_tracer("test").start_as_current_span("span"):
        add_span_attributes(attributes)
