"""The end of a process: in time whatever the collector does, and with nothing lost that could be saved."""

from __future__ import annotations

import signal

import pytest
from obs_core.testing import OtlpSink

EXIT_TIMEOUT_S = 2.0
#: What a machine that is busy elsewhere may add to our part of the exit, and to the interpreter's own; alone it is 0.1 s.
BUSY_S, INTERPRETER_S = 4.0, 15.0


def assert_in_time(done) -> None:
    assert done.exit_s <= EXIT_TIMEOUT_S + BUSY_S
    assert done.end_s <= EXIT_TIMEOUT_S + INTERPRETER_S


@pytest.mark.promise("CORE-20")
@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("count", [1, 2000])
@pytest.mark.parametrize("collector", ["refusing", "silent"])
def test_a_dead_collector_delays_exit_by_at_most_exit_timeout(
    run, request, collector, count, protocol
) -> None:
    """The SDK needs 7 to 30 s here. One line tells what became of the spans."""
    port = request.getfixturevalue(f"{collector}_port")
    done = run(
        f"""
        setup_tracing(TracingConfig(service_name="s", collector_url="http://127.0.0.1:{port}", collector_protocol="{protocol}"))
        spans({count})
        """
    )
    assert_in_time(done)
    # an exporter that gives up at once, as 1.28's, may have found the outage before the exit
    lines = [line for line in done.lines("obs_core.export") if "keeping" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(
        f"exit: 0 spans exported, {count} dropped (collector http://127.0.0.1:{port}: "
    )
    assert "closed" not in lines[0].lower()
    assert "shutdown" not in lines[0].lower()
    assert collector == "refusing" or lines[0].endswith("no answer in time)")


@pytest.mark.promise("CORE-20")
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_live_collector_gets_everything_at_exit_without_a_word(
    run, otlp_sink, grpc_sink, protocol
) -> None:
    """2,000 spans in four batches go out before the process ends."""
    url = grpc_sink.url if protocol == "grpc" else otlp_sink.url
    done = run(
        f"""
        setup_tracing(TracingConfig(service_name="s", collector_url="{url}", collector_protocol="{protocol}",
                                    exit_timeout_s=30))
        spans(2000)
        """
    )
    names = (
        grpc_sink.wait_for(2000)
        if protocol == "grpc"
        else [span.name for span in otlp_sink.wait_for(2000)]
    )
    assert names == ["span"] * 2000
    assert done.stderr == ""


@pytest.mark.promise("CORE-20")
def test_exit_timeout_zero_does_not_wait_at_all(run, silent_port) -> None:
    """`exit_timeout_s=0`: whoever would rather lose spans than a moment."""
    done = run(
        f"""
        setup_tracing(TracingConfig(service_name="s", collector_url="http://127.0.0.1:{silent_port}",
                                    collector_protocol="http", exit_timeout_s=0))
        spans(1)
        """
    )
    assert done.exit_s < EXIT_TIMEOUT_S


HANGING = """
import os, threading
from opentelemetry.sdk.trace import SpanProcessor
class Hanging(SpanProcessor):
    def hang(self, *_): os.write(1, b"hanging\\n"); threading.Event().wait(60)
    {method} = hang
class Orderly(SpanProcessor):
    def shutdown(self): os.write(1, f"closed in {{os.getpid() == parent}}\\n".encode())
parent = os.getpid()
manager, _ = setup_tracing(TracingConfig(service_name="s", collector_url="{url}"), span_processors=[Hanging(), Orderly()])
"""


@pytest.mark.soak
@pytest.mark.promise("CORE-20", "CORE-21")
@pytest.mark.parametrize("forks", [False, True])
@pytest.mark.parametrize("method", ["shutdown", "force_flush"])
def test_a_span_processor_that_hangs_is_left_behind_at_exit(
    run, otlp_sink, method, forks
) -> None:
    """The exit's two seconds are for all together; what is orderly is closed all the same."""
    body = HANGING.format(url=otlp_sink.url, method=method)
    if forks:
        body += "if os.fork():\n    os.wait()\n    os._exit(0)\n"
    timeout_s = 30 if method == "shutdown" else 0.5
    body += f"spans(1)\nassert manager.flush({timeout_s}) is {timeout_s == 30}\nprint(f'END {{time.monotonic()}}', flush=True)"
    done = run(body)
    assert sorted(done.stdout.splitlines()) == [f"closed in {not forks}", "hanging"]
    assert_in_time(done)
    assert [span.name for span in otlp_sink.wait_for(1)] == ["span"]


@pytest.mark.soak
@pytest.mark.promise("CORE-20", "CORE-25")
def test_a_second_destination_gets_its_spans_in_the_same_time(
    run, otlp_sink, silent_port
) -> None:
    """The SDK's own batch processor, beside a collector of ours that is silent: it is not made to wait for that one."""
    done = run(
        f"""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        second = BatchSpanProcessor(OTLPSpanExporter(endpoint="{otlp_sink.url}"))
        config = TracingConfig(service_name="s", collector_url="http://127.0.0.1:{silent_port}", collector_protocol="http",
                               exit_timeout_s=4)
        setup_tracing(config, span_processors=[second])
        spans(1)
        """
    )
    assert [span.name for span in otlp_sink.wait_for(1)] == ["span"]
    assert_in_time(done)


@pytest.mark.promise("CORE-25")
def test_os_exit_after_flush_loses_nothing(run, otlp_sink: OtlpSink) -> None:
    """`manager.flush()` is the hook for whoever ends a process by `os._exit`."""
    run(
        f"""
        manager, _ = setup_tracing(TracingConfig(service_name="s", collector_url="{otlp_sink.url}"))
        spans(1)
        assert manager.flush()
        os._exit(0)
        """
    )
    assert [span.name for span in otlp_sink.wait_for(1)] == ["span"]


SIGTERM = """
import signal
{before}
manager, _ = setup_tracing(TracingConfig(service_name="s", collector_url="{url}", exit_timeout_s=20))
manager.flush_on_sigterm()
manager.flush_on_sigterm()
spans(1)
{work}
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(30)
"""


@pytest.mark.promise("CORE-26")
def test_sigterm_without_a_handler_flushes_and_dies_by_the_signal(
    run, otlp_sink
) -> None:
    """The supervisor sees -15, as without us."""
    run(SIGTERM.format(before="", work="", url=otlp_sink.url), status=-signal.SIGTERM)
    assert [span.name for span in otlp_sink.wait_for(1)] == ["span"]


@pytest.mark.promise("CORE-26")
def test_sigterm_chains_the_handler_that_was_there(run, otlp_sink) -> None:
    """The application's own handler decides on the exit status, and runs once."""
    before = "signal.signal(signal.SIGTERM, lambda *_: (print('mine'), sys.exit(7)))"
    done = run(SIGTERM.format(before=before, work="", url=otlp_sink.url), status=7)
    assert done.stdout == "mine"
    assert len(otlp_sink.wait_for(1)) == 1


@pytest.mark.promise("CORE-26")
def test_sigterm_stays_ignored_where_it_was_ignored(run, otlp_sink) -> None:
    """A process that ignored SIGTERM goes on to ignore it, but its spans are out."""
    body = SIGTERM.format(
        before="signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        work="",
        url=otlp_sink.url,
    )
    run(body.replace("time.sleep(30)", ""))
    assert len(otlp_sink.wait_for(1)) == 1


@pytest.mark.promise("CORE-26")
def test_sigterm_with_a_silent_collector_dies_within_the_deadline(
    run, silent_port
) -> None:
    """A flush that gets nowhere costs `exit_timeout_s`, no more."""
    url = f"http://127.0.0.1:{silent_port}/v1/traces"
    body = SIGTERM.format(
        before="", work="print(f'END {time.monotonic()}', flush=True)", url=url
    )
    body = body.replace("exit_timeout_s=20", f"exit_timeout_s={EXIT_TIMEOUT_S}")
    assert run(body, status=-signal.SIGTERM).end_s <= EXIT_TIMEOUT_S + BUSY_S


@pytest.mark.promise("CORE-26")
def test_sigterm_that_interrupts_the_end_of_a_span_does_not_deadlock(
    run, otlp_sink
) -> None:
    """The handler runs on the thread that is just queueing a span, whatever step it is at."""
    body = f"""
        import signal
        manager, _ = setup_tracing(TracingConfig(service_name="s", collector_url="{otlp_sink.url}", max_queue_size=10**6))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        manager.flush_on_sigterm()
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        print(f'END {{time.monotonic()}}', flush=True)
        while True:
            spans(1)
        """
    assert run(body).end_s <= 0.3 + 2 * EXIT_TIMEOUT_S + INTERPRETER_S
    assert otlp_sink.spans


def test_a_handler_installed_from_c_is_left_alone(monkeypatch, caplog) -> None:
    """Python cannot call it, so replacing it would take it away: one warning says so."""
    from obs_core._setup.exit_hooks import flush_on_sigterm

    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    flush_on_sigterm(lambda: True)
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert "SIGTERM" in caplog.text
