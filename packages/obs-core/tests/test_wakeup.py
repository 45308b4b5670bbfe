"""Threads under gevent and eventlet, which may patch before the set-up, after it, or after the first span."""

from __future__ import annotations

import signal

import pytest
from obs_core.testing import OtlpSink

PATCH = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
CALL_IN_LOOP = {
    "gevent": """
    import gevent
    call_in_loop = gevent.get_hub().loop.run_callback
    """,
    "eventlet": """
    from functools import partial
    call_in_loop = partial(eventlet.hubs.get_hub().schedule_call_global, 0)
    """,
}
QUIET = {"PYTHONWARNINGS": "ignore"}
#: eventlet's line where locks that were made before it patched are in use
NOT_GREENED = "RLock(s) were not greened"

SCRIPT = """
    import os, sys, threading, time
    from obs_core import TracingConfig, setup_tracing
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor
    def spans(count, name):
        for _ in range(count):
            trace.get_tracer("test").start_span(name).end()
    class Flushed(SpanProcessor):
        count = 0
        def force_flush(self, timeout_millis=0):
            self.count += 1
            return True
    flushed = Flushed()
    if {when!r} == "before the set-up":
        {patch}
    config = TracingConfig(service_name="s", collector_url="{url}", export_timeout_s=60, {more})
    manager, _ = setup_tracing(config, span_processors=[flushed])
    if {when!r} == "after a span":
        spans(1, "early")
        assert manager.flush(20)
    if {when!r} != "before the set-up":
        {patch}
"""

each_library = pytest.mark.parametrize("library", PATCH)
each_time = pytest.mark.parametrize(
    "when", ["before the set-up", "after the set-up", "after a span"]
)


def script(library: str, when: str, url: str, more: str = "") -> str:
    return SCRIPT.format(patch=PATCH[library], when=when, url=url, more=more)


def printed_by_us(run, library: str, stderr: str) -> list[str]:
    """The lines of `stderr` but for those that the patching prints by itself, at objects of other libraries."""
    patching = run(
        f"import time\n{PATCH[library]}", prelude="", **QUIET
    ).stderr.splitlines()
    return [
        line
        for line in stderr.splitlines()
        if line not in patching and NOT_GREENED not in line
    ]


@pytest.mark.promise("CORE-29", "CORE-21")
@each_library
@each_time
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_spans_are_exported_and_nothing_is_printed(
    run, otlp_sink: OtlpSink, grpc_sink, library: str, when: str, protocol: str
) -> None:
    """Greenlets go on while a flush waits; the thread that was started before the patching ends in silence."""
    sink = {"http": otlp_sink, "grpc": grpc_sink}[protocol]
    done = run(
        script(library, when, sink.url, f"collector_protocol='{protocol}'")
        + """
    ticks = []
    threading.Thread(target=lambda: [(ticks.append(1), time.sleep(0)) for _ in range(5)]).start()
    spans(3, "late")
    assert manager.flush(20)
    assert len(ticks) == 5
    assert flushed.count == 1 + (manager.stats().exported == 4)
    """,
        prelude="",
        **QUIET,
    )
    expected = ["early"] * (when == "after a span") + ["late"] * 3
    arrived = sink.wait_for(len(expected))
    assert sorted(getattr(span, "name", span) for span in arrived) == expected
    assert printed_by_us(run, library, done.stderr) == []


@pytest.mark.promise("CORE-29")
@pytest.mark.parametrize("library", ["gevent"])
@pytest.mark.parametrize("when", ["before the set-up", "after the set-up"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_silent_collector_holds_up_no_greenlet(
    run, silent_port: int, library: str, when: str, protocol: str
) -> None:
    """Until it gives up, after 20 s, gRPC blocks its thread in C: were that a greenlet, then all of them."""
    more = f"collector_protocol='{protocol}', schedule_delay_s=0.1"
    run(
        script(library, when, f"http://127.0.0.1:{silent_port}", more)
        + """
    spans(3, "late")
    deadline, pauses = time.monotonic() + 15, 0
    while time.monotonic() < deadline and pauses < 100:
        time.sleep(0.01)
        pauses += 1
    assert pauses == 100
    os._exit(0)
    """,
        prelude="",
        **QUIET,
    )


@pytest.mark.promise("CORE-26")
@each_library
@each_time
def test_sigterm_that_an_event_loop_handles(
    run, otlp_sink: OtlpSink, library: str, when: str
) -> None:
    """An idle event loop runs the handler itself and may not wait for anything; the process dies by the signal all the same."""
    done = run(
        script(library, when, otlp_sink.url, "collector_protocol='http'")
        + """
    manager.flush_on_sigterm()
    spans(1, "late")
    """
        + CALL_IN_LOOP[library]
        + """
    def terminate():
        os.kill(os.getpid(), 15)
        for _ in range(100):  # Python runs the handler between two of these
            time.monotonic()
    call_in_loop(terminate)
    time.sleep(60)
    """,
        prelude="",
        status=-signal.SIGTERM,
        **QUIET,
    )
    assert printed_by_us(run, library, done.stderr) == []
    if library == "gevent":
        otlp_sink.wait_for(lambda spans: "late" in {span.name for span in spans})


@pytest.mark.promise("CORE-29")
def test_a_thread_that_has_no_memory_to_begin_holds_up_nobody(run) -> None:
    """CPython's `Thread.start` waits for its first word, which never comes: a call and a flush go on all the same."""
    done = run(
        """
    def die(_):
        raise MemoryError
    config = TracingConfig(service_name="s", collector_protocol="http", exit_timeout_s=0.5)
    manager, _ = setup_tracing(config)
    threading.Thread._bootstrap = die
    spans(1)
    print(manager.flush(0.1), manager.stats().started)
    """
    )
    assert done.stdout.splitlines()[0] == "False 1"
