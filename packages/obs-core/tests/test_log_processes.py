"""Log records of processes that fork, are stopped, or are killed: each arrives once, from the process that logged it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from obs_core.testing import OtlpSink

from .conftest import Run
from .test_log_export import SET_UP

pytestmark = pytest.mark.promise("CORE-95")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_after_a_fork_each_process_exports_its_own(
    run: Run, otlp_sink: OtlpSink, grpc_sink: Any, protocol: str
) -> None:
    """What waits at the fork is the parent's; the child has its own instance id, counts and connection."""
    sink = {"http": otlp_sink, "grpc": grpc_sink}[protocol]
    done = run(
        """
        manager = set_up(schedule_delay_s=60)
        log.info("warm")
        assert manager.flush(20)
        log.info("before")
        children = []
        for number in range(3):
            if not (child := os.fork()):
                log.info("child %d", number)
                print(manager.log_stats().started, manager.flush(20), flush=True)
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        log.info("after")
        print(manager.log_stats().started, manager.flush(20), flush=True)
        """,
        sink.url,
        prelude=SET_UP,
    )
    assert sorted(done.stdout.splitlines()) == ["1 True"] * 3 + ["3 True"]
    expected = ["after", "before", "child 0", "child 1", "child 2", "warm"]
    if protocol == "grpc":
        assert sorted(grpc_sink.logs) == expected
        return
    assert sorted(log.body for log in otlp_sink.wait_for_logs(6)) == expected
    instances = {
        (log.resource["process.pid"], log.resource["service.instance.id"])
        for log in otlp_sink.logs
    }
    assert len(instances) == 4


def test_no_lock_of_the_parent_is_waited_for(run: Run, otlp_sink: OtlpSink) -> None:
    """Fork while threads log all the time: every child logs and ends."""
    run(
        """
        manager = set_up()
        is_over = False
        def noise():
            while not is_over:
                log.info("noise")
        threads = [threading.Thread(target=noise) for _ in range(4)]
        for thread in threads: thread.start()
        children = []
        for number in range(20):
            if not (child := os.fork()):
                log.warning("child")
                manager.flush(20)
                os._exit(0)
            children.append(child)
        codes = [os.waitpid(child, 0)[1] for child in children]
        is_over = True
        for thread in threads: thread.join()
        assert codes == [0] * 20
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    bodies = [log.body for log in otlp_sink.logs]
    assert bodies.count("child") == 20


@pytest.mark.promise("CORE-26")
def test_sigterm_flushes(run: Run, otlp_sink: OtlpSink) -> None:
    """With the opt-in handler, as spans."""
    run(
        """
        import signal
        set_up(schedule_delay_s=60).flush_on_sigterm()
        log.info("last words")
        os.kill(os.getpid(), signal.SIGTERM)
        """,
        otlp_sink.url,
        prelude=SET_UP,
        status=-signal.SIGTERM,
    )
    assert [log.body for log in otlp_sink.logs] == ["last words"]


@pytest.mark.promise("CORE-28")
def test_a_spool_keeps_what_a_killed_process_has_logged(
    run: Run, otlp_sink: OtlpSink, tmp_path: Path
) -> None:
    """In an outage, then SIGKILL: the next process replays log records and spans, each once, with the dead one's resource."""
    otlp_sink.respond = 503
    spool = str(tmp_path / "spool")
    run(
        """
        import signal
        set_up(spool_dir=sys.argv[2])
        for number in range(20):
            with tracer.start_as_current_span("span"):
                log.info("line %d", number, extra={"number": number})
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        otlp_sink.url,
        spool,
        prelude=SET_UP,
        status=-signal.SIGKILL,
    )
    otlp_sink.respond = 200
    done = run(
        """
        from obs_core.testing import wait_until
        manager = set_up(spool_dir=sys.argv[2])
        wait_until(lambda: (manager.log_stats().replayed, manager.stats().replayed) == (20, 20), 30)
        print(os.getpid())
        """,
        otlp_sink.url,
        spool,
        prelude=SET_UP,
    )
    logs = otlp_sink.logs
    assert sorted(log.attributes["number"] for log in logs) == list(range(20))
    spans = {span.span_id for span in otlp_sink.spans}
    assert {log.span_id for log in logs} == spans
    assert int(json.loads(done.stdout)) not in {
        log.resource["process.pid"] for log in logs
    }


def test_an_outage_is_a_line_for_each_signal(run: Run, otlp_sink: OtlpSink) -> None:
    """And nothing of the exporters."""
    otlp_sink.respond = (
        400  # 503 is what the exporters of 1.28 retry for a minute, in silence
    )
    done = run(
        """
        logging.basicConfig(format="%(name)s|%(message)s", stream=sys.stderr)
        manager = set_up(export_timeout_s=0.2)
        for number in range(3):
            log.info("line")
            assert not manager.flush(5)
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    said = done.lines("obs_core.export")
    assert sum("does not take log records" in line for line in said) == 1
    assert [line for line in done.stderr.splitlines() if "opentelemetry" in line] == []
