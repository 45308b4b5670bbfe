"""The fixtures that every package's tests stand on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from obs_core import TracingConfig, setup_tracing
from obs_core._spans.light import LightSpan
from obs_core.testing import OtlpSink, SpanRecorder, record_spans, wait_until
from opentelemetry import trace

TREE = """
    outer [SERVER]
      inner [INTERNAL]
    """


def make_tree() -> None:
    tracer = trace.get_tracer("test")
    with (
        tracer.start_as_current_span("outer", kind=trace.SpanKind.SERVER),
        tracer.start_as_current_span("inner"),
    ):
        pass


@pytest.mark.promise("CORE-70")
def test_spans_records_a_tree(spans: SpanRecorder) -> None:
    """The tree shows nesting, kind and status, and is compared as a whole."""
    make_tree()
    spans.assert_tree(TREE)


@pytest.mark.promise("CORE-70")
def test_what_was_global_before_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider, and that it may still be set: a test leaves nothing to the next one."""
    # a fixture of another package may be recording for the whole session
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    before, once = trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE
    with record_spans():
        assert trace._TRACER_PROVIDER is not before
    assert (before, once) == (trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE)


@pytest.mark.promise("CORE-70")
def test_a_difference_is_shown_line_by_line(spans: SpanRecorder) -> None:
    """What is missing and what is too much stand under each other; a missing name shows the tree."""
    make_tree()
    with pytest.raises(AssertionError) as caught:
        spans.assert_tree(TREE.replace("inner", "other"))
    assert "-   other [INTERNAL]" in str(caught.value)
    assert "+   inner [INTERNAL]" in str(caught.value)
    with pytest.raises(
        AssertionError, match=r"0 spans are named 'nobody', not 1, in:\nouter"
    ):
        spans.one("nobody")


@pytest.mark.promise("CORE-83")
@pytest.mark.parametrize(
    ("kind", "is_light"), [("sdk", False), ("light", True), (None, True)]
)
def test_records_the_kind_of_span_that_the_environment_asks_for(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, is_light: bool
) -> None:
    """So that the tests of a package can be run with the spans of either."""
    if kind is None:
        monkeypatch.delenv("OBS_CORE_SPANS", raising=False)
    else:
        monkeypatch.setenv("OBS_CORE_SPANS", kind)
    with record_spans():
        span = trace.get_tracer("test").start_span("a")
    assert isinstance(span, LightSpan) is is_light


@pytest.mark.promise("CORE-70")
def test_everything_global_is_put_back() -> None:
    """Provider and set-up, also one that is made inside; nested recordings record for themselves."""
    before = trace.get_tracer_provider()
    with record_spans() as outer:
        manager, _ = setup_tracing(TracingConfig(service_name="s"), span_exporter=None)
        with record_spans() as inner:
            make_tree()
        trace.get_tracer("test").start_span("after").end()
    assert trace.get_tracer_provider() is before
    assert manager.status.state == "stopped"
    assert [len(inner), [span.name for span in outer]] == [2, ["after"]]
    with record_spans() as again:
        setup_tracing(TracingConfig(service_name="another"))
        make_tree()
    assert len(again) == 2


@pytest.mark.promise("CORE-70")
def test_the_plugin_is_loaded_by_itself(tmp_path: Path) -> None:
    """Where obs-core is installed, a test asks for `spans` and has it."""
    (tmp_path / "test_mine.py").write_text(
        "from opentelemetry import trace\n"
        "def test_mine(spans, otlp_sink):\n"
        "    trace.get_tracer('t').start_span('mine').end()\n"
        "    spans.assert_tree('mine [INTERNAL]')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.promise("CORE-70")
def test_a_sink_that_waits_in_vain_shows_what_has_come(otlp_sink: OtlpSink) -> None:
    """The message is the tree."""
    with pytest.raises(AssertionError, match=r"after 0 s only 0 spans have come"):
        otlp_sink.wait_for(1, timeout_s=0)


def make_sent() -> None:
    tracer = trace.get_tracer("test")
    with tracer.start_as_current_span("outer") as outer:
        link = trace.Link(outer.get_span_context())
        sent = tracer.start_span("sent", kind=trace.SpanKind.PRODUCER, links=[link])
        sent.set_attributes({"size": 7, "to": ["a", "b"], "id": "x4711"})
        sent.add_event("kept")
        sent.set_status(trace.StatusCode.ERROR, "refused")
        sent.end()


@pytest.mark.promise("CORE-70")
def test_a_span_is_compared_as_a_whole(spans: SpanRecorder) -> None:
    """The attribute value ``...`` stands for any; the rest is equal, and the span is returned."""
    make_sent()
    found = spans.assert_span(
        "sent",
        kind="PRODUCER",
        status="ERROR: refused",
        parent="outer",
        links=[spans.one("outer")],
        events=["kept"],
        attributes={"size": 7, "to": ["a", "b"], "id": ...},
    )
    assert found is spans.one("sent")
    spans.assert_span("outer", attributes={})


@pytest.mark.promise("CORE-70")
def test_each_part_of_a_span_counts(spans: SpanRecorder) -> None:
    """What is left out is expected at its default; the message shows expected and recorded lines."""
    make_sent()
    with pytest.raises(AssertionError) as failure:
        spans.assert_span("sent", attributes={"size": 8, "to": ("a", "b"), "from": ...})
    lines = str(failure.value).splitlines()
    assert sorted(line for line in lines if line.startswith(("- ", "+ "))) == [
        "+ events: ['kept']",
        "+ id = 'x4711'",
        "+ kind: 'PRODUCER'",
        f"+ links: [{spans.one('outer').context.span_id}]",
        "+ parent: 'outer'",
        "+ size = 7",
        "+ status: 'ERROR: refused'",
        "- events: []",
        "- from = ...",
        "- kind: 'INTERNAL'",
        "- links: []",
        "- parent: None",
        "- size = 8",
        "- status: 'UNSET'",
    ]


@pytest.mark.promise("CORE-70")
def test_the_id_of_a_remote_parent(spans: SpanRecorder) -> None:
    """A parent of another process has no name here."""
    remote = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(remote)):
        make_tree()
    spans.assert_span("outer", kind="SERVER", parent=2, attributes={})


@pytest.mark.promise("CORE-70")
def test_waiting_ends_as_soon_as_the_condition_holds() -> None:
    """The value that the condition returned comes back."""
    values = iter([None, 0, "", "ready"])
    assert wait_until(lambda: next(values)) == "ready"


@pytest.mark.promise("CORE-70")
@pytest.mark.parametrize("message", ["2 spans, not 3", lambda: "2 spans, not 3"])
def test_waiting_in_vain_says_what_for(message: str | Callable[[], str]) -> None:
    """At the deadline, not later."""
    with pytest.raises(AssertionError, match=r"^after 0\.01 s: 2 spans, not 3$"):
        wait_until(lambda: False, 0.01, message=message)
