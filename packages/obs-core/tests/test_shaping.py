"""The span-shaping provider that integrations put between contrib and the SDK."""

from __future__ import annotations

import pytest
from obs_core.integration import (
    ShapingTracerProvider,
    SpanPolicy,
    SpanShape,
    truncate,
)
from obs_core.testing import SpanRecorder
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode


def shaped(**parts: object) -> trace.Tracer:
    return ShapingTracerProvider(SpanShape(**parts)).get_tracer("contrib")


def test_each_part_does_its_own(spans: SpanRecorder) -> None:
    """Drop, rename, filter, cut and edit, on one span."""
    tracer = shaped(
        drop=lambda name, kind, attributes: name == "noise",
        rename=lambda name, kind, attributes: f"{name} {attributes['target']}",
        attribute=lambda key, value: None if key == "secret" else value,
        edit=lambda span: span.set_attribute("edited", True),
        max_value_bytes=8,
    )
    with tracer.start_as_current_span(
        "GET", kind=SpanKind.CLIENT, attributes={"target": "cache", "secret": "x"}
    ) as span:
        span.set_attribute("long", "0123456789")
        span.set_attributes({"secret": "y", "n": 1})
        with (
            tracer.start_as_current_span("noise"),
            tracer.start_as_current_span("SET", attributes={"target": "t"}),
        ):
            pass
    spans.assert_tree(
        """
        GET cache [CLIENT] edited=True long='01234…' n=1 target='cache'
          SET t [INTERNAL] edited=True target='t'
        """,
        attributes=("edited", "long", "n", "secret", "target"),
    )


def test_parts_that_raise_are_contained(spans: SpanRecorder, caplog) -> None:
    """The span is made all the same; what the attribute filter could not judge is not recorded."""

    def broken(*_: object) -> None:
        raise RuntimeError("hook")

    tracer = shaped(
        require_parent=broken,
        drop=broken,
        rename=broken,
        attribute=broken,
        edit=broken,
        description=broken,
    )
    with tracer.start_as_current_span("span", attributes={"k": "v"}) as span:
        span.set_status(StatusCode.ERROR, "why")
    span = spans.one("span")
    assert (
        dict(span.attributes),
        span.status.status_code,
        span.status.description,
    ) == (
        {},
        StatusCode.ERROR,
        None,
    )
    assert "edit failed" in caplog.text


def test_require_parent_leaves_out_roots_only(spans: SpanRecorder) -> None:
    """A span below another one stays."""
    tracer = shaped(require_parent=lambda: True)
    tracer.start_span("alone").end()
    with (
        trace.get_tracer("user").start_as_current_span("request"),
        tracer.start_as_current_span("query"),
    ):
        pass
    spans.assert_tree("request [INTERNAL]\n  query [INTERNAL]")


def test_a_recorded_exception_is_an_event_not_a_failure(spans: SpanRecorder) -> None:
    """Whoever handles an exception and records it has not failed; its attributes are kept."""
    with shaped().start_as_current_span("span") as span:
        span.record_exception(ValueError("handled"), attributes={"retry": 1})
    (event,) = spans.one("span").events
    assert spans.one("span").status.status_code is StatusCode.UNSET
    assert set(event.attributes) == {
        "exception.type",
        "exception.message",
        "exception.stacktrace",
        "retry",
    }


@pytest.mark.parametrize("as_current", [True, False])
def test_an_escaping_exception_is_recorded_once(
    spans: SpanRecorder, as_current: bool
) -> None:
    """Both ways of `with`, as with the SDK's own spans."""
    tracer = shaped()
    start = tracer.start_as_current_span if as_current else tracer.start_span
    with pytest.raises(ValueError, match="escaped"), start("span"):
        raise ValueError("escaped")
    span = spans.one("span")
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]


@pytest.mark.parametrize(
    ("text", "cut"), [("abc", "abc"), ("äöü", "ä…"), ("abcdef", "ab…"), ("😀😀", "…")]
)
def test_truncate_counts_bytes_and_cuts_between_characters(text: str, cut: str) -> None:
    """Five bytes of UTF-8, the ellipsis included."""
    assert truncate(text, 5) == cut


def test_a_provider_that_is_set_later_is_found(spans: SpanRecorder) -> None:
    """The shaping provider asks for the global one when a tracer is made, not when it is made itself."""
    provider = ShapingTracerProvider(SpanShape())
    provider.get_tracer("late").start_span("span").end()
    assert len(spans) == 1


def test_sequences_and_names_are_cut(spans: SpanRecorder) -> None:
    """A sequence keeps the items that have room; a later name is cut as well."""
    tracer = shaped(max_value_bytes=20, max_name_bytes=5)
    with tracer.start_as_current_span("a long name") as span:
        span.set_attribute("texts", ["0123456789"] * 5)
        span.set_attribute("numbers", [1] * 50)
        span.set_attribute("long", ["x" * 50])
        span.add_event("event", {"texts": ["0123456789"] * 5})
        span.update_name("another name")
    span = spans.one("an…")
    assert dict(span.attributes) == {
        "texts": ("0123456789", "0123456789"),
        "numbers": (1, 1, 1),
        "long": ("x" * 17 + "…",),
    }
    assert dict(span.events[0].attributes) == {"texts": ("0123456789", "0123456789")}


def test_a_policy_decides(spans: SpanRecorder) -> None:
    """An unwanted root leaves its children to the parent that it would have had: none."""
    tracer = shaped(policy=SpanPolicy(roots=False), added={"peer.service": "db"})
    with tracer.start_as_current_span("alone"):
        pass
    with (
        trace.get_tracer("user").start_as_current_span("request"),
        tracer.start_as_current_span("query"),
    ):
        pass
    spans.assert_tree(
        "request [INTERNAL]\n  query [INTERNAL] peer.service='db'",
        attributes=("peer.service",),
    )


@pytest.mark.parametrize(
    ("verdict", "status", "events"),
    [
        (True, "outcome", [{"exception.type", "exception.stacktrace"}]),
        (False, "outcome", []),
        (
            RuntimeError("broken"),
            "ValueError",
            [{"exception.type", "exception.stacktrace"}],
        ),
    ],
)
@pytest.mark.parametrize("is_handled", [False, True])
def test_an_outcome_is_recorded_in_place_of_the_message(
    verdict: object, status: str, events: object, is_handled: bool, spans: SpanRecorder
) -> None:
    """Whether the exception leaves the span, or the instrumentation sets the status while it handles the exception."""

    def outcome(span: trace.Span, error: BaseException) -> bool:
        if isinstance(verdict, Exception):
            raise verdict
        span.set_status(StatusCode.ERROR, "outcome")
        return bool(verdict)

    tracer = shaped(outcome=outcome)
    with pytest.raises(ValueError, match="secret"):
        fail(tracer, is_handled)
    span = spans.one("span")
    assert (span.status.status_code, span.status.description) == (
        StatusCode.ERROR,
        status,
    )
    assert [set(event.attributes) for event in span.events] == events


def fail(tracer: trace.Tracer, is_handled: bool) -> None:
    if not is_handled:
        with tracer.start_as_current_span("span"):
            raise ValueError("secret")
    span = tracer.start_span("span")
    try:
        raise ValueError("secret")
    except ValueError as error:
        span.record_exception(error)
        span.set_status(StatusCode.ERROR, str(error))
        span.end()
        raise
