"""What a message's headers may say, and what is made of it."""

from __future__ import annotations

import pytest
from celery.app.task import Context
from obs_celery._message import ATTEMPT, drawn_span_id
from obs_celery._propagation import extract
from opentelemetry import trace


@pytest.mark.promise("CEL-04")
@pytest.mark.parametrize(
    "value", ["z" * 16, "0" * 16, "12", 7, None, "G23456789012345\n"]
)
def test_a_strangers_attempt_is_no_span_id(value: object) -> None:
    """Our key is ours only on the way from a worker's main process to its child; what else stands there is ignored."""
    assert drawn_span_id(Context({ATTEMPT: value})) is None
    assert drawn_span_id(Context({ATTEMPT: "00000000000000ff"})) == 255


@pytest.mark.promise("CEL-03")
def test_the_state_of_anothers_trace_stays_out() -> None:
    """What ddtrace writes inside the headers belongs to its own trace; where it stands alone, it is read as a whole."""
    theirs = {
        "traceparent": f"00-{7:032x}-{8:016x}-01",
        "tracestate": "dd=s:1",
        "baggage": "k=v",
    }
    ours = trace.get_current_span(
        extract(Context({"traceparent": f"00-{5:032x}-{6:016x}-01", "headers": theirs}))
    )
    assert (
        ours.get_span_context().trace_id,
        dict(ours.get_span_context().trace_state),
    ) == (5, {})
    alone = trace.get_current_span(
        extract(Context({"headers": theirs}))
    ).get_span_context()
    assert (alone.trace_id, dict(alone.trace_state)) == (7, {"dd": "s:1"})


@pytest.mark.promise("CEL-10")
@pytest.mark.parametrize("headers", [{}, {"traceparent": "nonsense"}, {"baggage": ";"}])
def test_nothing_that_is_current_in_the_pools_thread_gets_in(
    headers: dict[str, str],
) -> None:
    """A message that names no producer has an empty context, whatever the thread was left in."""
    left = trace.NonRecordingSpan(
        trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(1))
    )
    with trace.use_span(left):
        assert extract(Context(headers)) == {}
