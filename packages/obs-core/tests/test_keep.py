"""Unsampled requests that fail, are slow or are asked for are exported whole; others leave nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from obs_core import (
    Keep,
    add_span_attributes,
    correlation_scope,
    keep_trace,
    trace_function,
)
from obs_core.exceptions import ConfigurationError
from obs_core.integration import kept_reason, note_kept
from obs_core.testing import SpanRecorder, record_spans
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagate import inject
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

pytestmark = pytest.mark.promise("CORE-90")
tracer = trace.get_tracer("test")


@pytest.fixture
def spans() -> Iterator[SpanRecorder]:
    """Nothing is sampled; a request over 30 s is slow."""
    with record_spans(sampling_rate=0.0, keep=Keep(slower_than_s=30)) as recorder:
        yield recorder


@trace_function
def step(*, fails: bool = False) -> None:
    """A part of a request."""
    if fails:
        raise ValueError("no")


@contextmanager
def request(name: str = "request") -> Iterator[Any]:
    with tracer.start_as_current_span(name) as span:
        yield span


def handled() -> None:
    with pytest.raises(ValueError, match="no"):
        step(fails=True)


def names(spans: SpanRecorder) -> list[str]:
    return [span.name.rpartition(".")[2] for span in spans.finished]


def reasons(spans: SpanRecorder) -> set[Any]:
    return {(span.attributes or {}).get("obs.kept") for span in spans.finished}


def caller(state: str | None = None) -> Context:
    """The context of a caller whose trace is not sampled."""
    members = TraceState([("vendor", "x"), *([("obs", state)] if state else [])])
    ids = SpanContext(7, 9, True, TraceFlags(0), members)
    return set_span_in_context(NonRecordingSpan(ids), Context())


def test_a_well_request_leaves_nothing(spans: SpanRecorder) -> None:
    """It records: attributes are set, but neither the request nor its parts are exported."""
    with request() as span:
        assert span.is_recording()
        assert not span.get_span_context().trace_flags.sampled
        step()
    assert names(spans) == []


def test_a_request_with_an_error_is_whole(spans: SpanRecorder) -> None:
    """All its spans, also those that ended before the error, each once, with the reason; the root has it too."""
    with request():
        step()
        handled()
        step()
    assert names(spans) == ["step", "step", "step", "request"]
    assert reasons(spans) == {"error"}
    assert not any(s.context.trace_flags.sampled for s in spans.finished)
    root = spans.one("request")
    assert {s.context.trace_id for s in spans.finished} == {root.context.trace_id}


def test_a_root_that_fails_is_kept(spans: SpanRecorder) -> None:
    """The error may be the root's own, and the last to be known."""
    root = tracer.start_span("request")
    with pytest.raises(ValueError, match="no"), trace.use_span(root, end_on_exit=True):
        step(fails=True)
    assert names(spans) == ["step", "request"]
    assert spans.one("request").status.status_code is StatusCode.ERROR


def test_a_slow_root_is_kept(spans: SpanRecorder) -> None:
    """By the duration of the local root, not that of a part."""
    start = 1_000_000_000_000
    for took_s in (29, 31):
        root = tracer.start_span(f"root {took_s}", start_time=start)
        below = set_span_in_context(root, Context())
        child = tracer.start_span(f"child {took_s}", below, start_time=start)
        child.end(start + 60_000_000_000)
        root.end(start + took_s * 1_000_000_000)
    assert names(spans) == ["child 31", "root 31"]
    assert reasons(spans) == {"slow"}


def test_what_is_asked_for_is_kept() -> None:
    """`keep_trace` says whether the trace is exported; with neither errors nor slow requests wanted, it is the only way."""
    with record_spans(sampling_rate=0.0, keep=Keep(errors=False)) as spans:
        with request():
            handled()
        with request("asked"):
            step()
            assert keep_trace()
            assert keep_trace()
        assert names(spans) == ["step", "asked"]
        assert reasons(spans) == {"asked"}


def test_asking_without_need_or_in_vain() -> None:
    """True in a sampled request, which is not marked; False outside a request, and with keep off."""
    assert not keep_trace()
    with record_spans() as spans:
        with request():
            assert keep_trace()
        assert reasons(spans) == {None}
    with record_spans(sampling_rate=0.0) as spans:
        with request():
            assert not keep_trace()
        assert names(spans) == []


def test_what_is_open_follows(spans: SpanRecorder) -> None:
    """A background task of a kept request is exported when it ends, after the root."""
    with request() as root:
        late = tracer.start_span("late")
        root.set_status(StatusCode.ERROR)
    assert names(spans) == ["request"]
    late.end()
    assert names(spans) == ["request", "late"]
    assert reasons(spans) == {"error"}


def test_a_late_error_keeps_the_request(spans: SpanRecorder) -> None:
    """The request is dropped when its last span ends, not before: a background task may still fail."""
    with request():
        late = tracer.start_span("late")
        well = tracer.start_span("well")
    well.end()
    late.set_status(StatusCode.ERROR)
    late.end()
    assert names(spans) == ["request", "well", "late"]


def test_what_starts_after_the_end_may_fail_too(spans: SpanRecorder) -> None:
    """The well part is gone by then."""
    with request() as root:
        pass
    context = set_span_in_context(root, Context())
    tracer.start_span("well", context).end()
    late = tracer.start_span("late", context)
    late.set_status(StatusCode.ERROR)
    late.end()
    assert names(spans) == ["late"]


def test_sampled_requests_are_not_marked() -> None:
    """So that both can be counted: a mark means that the request would not have been exported."""
    with record_spans(keep=Keep()) as spans:
        with request():
            handled()
        assert names(spans) == ["step", "request"]
        assert reasons(spans) == {None}


def test_correlation_ids_and_attributes_are_there(spans: SpanRecorder) -> None:
    """A kept span is a span like any other."""
    with correlation_scope("c-1"), request():
        add_span_attributes({"order": 7})
        handled()
    assert spans.one("request").attributes == {
        "correlation_id": "c-1",
        "order": 7,
        "obs.kept": "error",
    }


def test_each_request_of_a_process_decides_for_itself(spans: SpanRecorder) -> None:
    """Tasks and threads side by side."""

    async def one(number: int) -> None:
        with request(f"request {number}"):
            await asyncio.sleep(0)
            handled() if number % 3 == 0 else step()
            await asyncio.sleep(0)

    async def all_of_them() -> None:
        await asyncio.gather(*(one(number) for number in range(9)))

    threads = [
        threading.Thread(target=asyncio.run, args=(all_of_them(),)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names(spans)) == sorted(
        ["step", "request 0", "step", "request 3", "step", "request 6"] * 3
    )


def test_one_trace_may_have_several_local_roots(spans: SpanRecorder) -> None:
    """A callee in the same process, reached over the network, is a request of its own."""
    for name in ("well", "fails"):
        with trace.use_span(tracer.start_span(name, caller()), end_on_exit=True):
            handled() if name == "fails" else step()
    assert names(spans) == ["step", "fails"]


def test_those_called_after_the_decision_are_told(spans: SpanRecorder) -> None:
    """In the tracestate, first; what others wrote there stays, and the flag stays 00."""
    sent = []
    with trace.use_span(tracer.start_span("root", caller()), end_on_exit=True):
        for decide in (step, handled, step):
            decide()
            with tracer.start_as_current_span("call"):
                carrier: dict[str, str] = {}
                inject(carrier)
                sent.append((carrier["traceparent"][-2:], carrier["tracestate"]))
    assert sent == [
        ("00", "vendor=x"),
        ("00", "obs=kept:error,vendor=x"),
        ("00", "obs=kept:error,vendor=x"),
    ]


def test_a_full_tracestate_loses_its_last_member(spans: SpanRecorder) -> None:
    """At most 32 members: https://www.w3.org/TR/trace-context/#list."""
    full = TraceState([(f"v{number}", "x") for number in range(32)])
    ids = SpanContext(7, 9, True, TraceFlags(0), full)
    root = tracer.start_span("r", set_span_in_context(NonRecordingSpan(ids), Context()))
    with trace.use_span(root, end_on_exit=True):
        keep_trace()
        state = tracer.start_span("call").get_span_context().trace_state
    assert list(state) == ["obs", *(f"v{number}" for number in range(31))]


@pytest.mark.parametrize("reason", ["error", "slow", "asked"])
def test_a_callee_that_is_told_keeps_its_part(spans: SpanRecorder, reason: str) -> None:
    """For the caller's reason, and tells it on."""
    root = tracer.start_span("r", caller(f"kept:{reason}"))
    with trace.use_span(root, end_on_exit=True):
        step()
        state = tracer.start_span("call").get_span_context().trace_state
    assert names(spans) == ["step", "r"]
    assert reasons(spans) == {reason}
    assert state.to_header() == f"vendor=x,obs=kept:{reason}"


@pytest.mark.parametrize("state", ["kept", "kept:", "kept:all", "kept:error;x", "1"])
def test_another_mark_says_nothing(spans: SpanRecorder, state: str) -> None:
    """Of a later version, of another vendor, or forged."""
    tracer.start_span("r", caller(state)).end()
    assert names(spans) == []


def test_a_caller_that_is_told_keeps_its_part(spans: SpanRecorder) -> None:
    """By the callee's answer; other values are ignored."""
    with request():
        with tracer.start_as_current_span("call") as call:
            note_kept(call, "because")
            note_kept(call, None)
            assert kept_reason(call) is None
            note_kept(call, "slow")
            assert kept_reason(call) == "slow"
        step()
    assert names(spans) == ["call", "step", "request"]
    assert reasons(spans) == {"slow"}


def test_the_answer_can_tell_before_the_root_has_ended(spans: SpanRecorder) -> None:
    """A request that is going to fail is decided, and so is one that is slow already."""
    with request("fails") as span:
        assert kept_reason(span) is None
        assert kept_reason(span, fails=True) == "error"
    slow = tracer.start_span("slow", Context(), start_time=1)
    assert kept_reason(slow) == "slow"
    slow.end()
    assert names(spans) == ["fails", "slow"]


def test_asking_a_sampled_span_why_it_is_kept() -> None:
    """It is not."""
    with record_spans(keep=Keep()), request() as span:
        note_kept(span, "error")
        assert kept_reason(span, fails=True) is None
        assert kept_reason(NonRecordingSpan(span.get_span_context())) is None


SET_UP = """
from obs_core import Keep, trace_function
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
@trace_function
def step(fails):
    if fails:
        raise ValueError("no")
def request(fails):
    with tracer.start_as_current_span("root"):
        try:
            step(fails)
        except ValueError:
            pass
def set_up(**options):
    config = TracingConfig(service_name="s", sampling_rate=0.0, **options)
    return setup_tracing(config, span_exporter=exporter, replace=True).manager
"""


def test_stats_tell_kept_spans(run: Any) -> None:
    """They count as begun when they are given to the export."""
    script = """
manager = set_up(keep=Keep())
request(False), request(True)
manager.flush()
print(manager.stats(), len(exporter.get_finished_spans()))
"""
    found = run(SET_UP + script).stdout.splitlines()[0]
    assert found.startswith("ExportStats(started=2, exported=2, failed=0, ")
    assert found.endswith("kept=2, dropped_unsampled=0) 2")


def test_keep_follows_a_later_set_up(run: Any) -> None:
    """Decorators, integrations and tracers that were there before ask again: `replace=True` switches it on and off."""
    script = """
for keep in (None, Keep(), None):
    exporter.clear()
    manager = set_up(keep=keep)
    exporter._stopped = False
    request(True)
    manager.flush()
    print(len(exporter.get_finished_spans()))
"""
    assert run(SET_UP + script).stdout.splitlines()[:3] == ["0", "2", "0"]


@pytest.mark.parametrize(
    "options",
    [
        {"errors": 1},
        {"slower_than_s": 0},
        {"max_spans": 0},
        {"max_bytes": 1.5},
        {"max_age_s": -1},
        {"max_requests_per_s": 0},
        {"slow": 2.0},
    ],
    ids=str,
)
def test_a_wrong_option_says_the_fix(options: dict[str, Any]) -> None:
    """When it is written, with its name."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Keep(**options)


def test_spans_of_the_sdk_cannot_be_kept(run: Any) -> None:
    """Said once, and in the status; tracing goes on."""
    script = """
    from obs_core import Keep
    manager = setup_tracing(TracingConfig(service_name="s", keep=Keep())).manager
    print(manager.status.problems)
    """
    done = run(script, OBS_CORE_SPANS="sdk", OTEL_TRACES_EXPORTER="console")
    assert "keep is off" in done.stdout
    assert (
        len([line for line in done.stderr.splitlines() if "keep is off" in line]) == 1
    )


def test_the_environment_can_switch_it_on(run: Any) -> None:
    """`describe()` says where it came from; a wrong option is one warning."""
    script = """
    manager = setup_tracing(TracingConfig(service_name="s")).manager
    keep, source = manager.describe()["keep"]
    print(keep and (keep.errors, keep.slower_than_s), source, manager.status.problems)
    """
    for text, shown in {
        "true": "(True, None) OBS_CORE_KEEP ()",
        "errors=false,slower_than_s=2": "(False, 2.0) OBS_CORE_KEEP ()",
        "false": "None default ()",
    }.items():
        found = run(script, OBS_CORE_KEEP=text, OTEL_TRACES_EXPORTER="none").stdout
        assert found.splitlines()[0] == shown
    found = run(script, OBS_CORE_KEEP="slow=2", OTEL_TRACES_EXPORTER="none").stdout
    assert found.startswith("None default")
    assert "slow is no option" in found
