"""Spans on disk until the collector has them: outages, kills, restarts, and a directory that several processes share."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obs_core import TracingConfig, setup_tracing
from obs_core._export.encode.decode import decoded
from obs_core._export.encode.encoder import EncodedItem, Encoder
from obs_core._export.options import BatchOptions, SpoolOptions
from obs_core._export.processor import BatchExportProcessor
from obs_core._export.spool import directory, segment
from obs_core._export.spool import spool as spool_module
from obs_core._export.spool.directory import SUFFIX
from obs_core._export.spool.records import (
    group_record,
    settled_ids,
    settled_record,
    span_record,
    spans_without,
)
from obs_core._export.spool.segment import Segment
from obs_core._export.spool.spool import Spool
from obs_core.exceptions import ConfigurationError
from obs_core.testing import OtlpSink, wait_until
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

pytestmark = pytest.mark.promise("CORE-28")
FAR = 3600.0

SERVICE = """
import os, signal, sys, time, logging
logging.basicConfig(format="%(name)s|%(message)s", stream=sys.stderr)
from opentelemetry import trace
from obs_core import TracingConfig, setup_tracing
from obs_core._export.spool import segment
url, folder, delay = sys.argv[1:4]
options = eval(sys.argv[4]) if len(sys.argv) > 4 else {}
manager = setup_tracing(TracingConfig(
    service_name="s", collector_url=url, collector_protocol="http", spool_dir=folder, schedule_delay_s=float(delay),
    **options))
manager = manager[0] if isinstance(manager, tuple) else manager
tracer = trace.get_tracer("test")
def spans(count, name="span"):
    for number in range(count):
        tracer.start_span(f"{name} {number}", attributes={"number": number}).end()
def say(what):
    print(what, flush=True)
for line in sys.stdin:
    exec(line)
"""


class Service:
    """A process that does as it is told, a line at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._in: IO[str] = process.stdin
        self._out: IO[str] = process.stdout

    def do(self, line: str) -> str:
        """Run `line`, and return what it says when it is done."""
        self._in.write(f"{line}\n" if "say(" in line else f"{line}; say('done')\n")
        self._in.flush()
        return self._out.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def end(self) -> str:
        """Let it exit by itself; return its log."""
        _, log = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, log
        return log


@pytest.fixture
def service(tmp_path: Path, clean_environment) -> Iterator[Callable[..., Service]]:
    """Start a service that spools to the test's folder."""
    script, started = tmp_path / "service.py", []
    script.write_text(SERVICE)

    def start(url: str, delay_s: float = FAR, **options: object) -> Service:
        command = [
            sys.executable,
            str(script),
            url,
            str(tmp_path / "spool"),
            str(delay_s),
            repr(options),
        ]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        started.append(process)
        return Service(process)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "spool").iterdir())


def names(sink: OtlpSink) -> Counter[str]:
    return Counter(span.name for span in sink.spans)


def once(count: int, name: str = "span") -> Counter[str]:
    return Counter(f"{name} {number}" for number in range(count))


@contextmanager
def stopped(sink: OtlpSink) -> Iterator[None]:
    """The collector answers 400 meanwhile: with 5xx, the exporter itself tries again, for a minute in its older versions."""
    sink.respond = 400
    yield
    sink.respond = 200


def test_spans_of_a_killed_process_are_exported_by_the_next(
    service, otlp_sink: OtlpSink, tmp_path: Path
) -> None:
    """Finished but never exported: on SIGKILL they are gone without a spool. The resource is their process's."""
    killed = service(otlp_sink.url)
    killed.do("spans(400, 'killed')")
    instance = killed.do(
        "say(trace.get_tracer_provider().resource.attributes['service.instance.id'])"
    )
    killed.kill()
    assert otlp_sink.spans == []
    after = service(otlp_sink.url, 0.1)
    after.do("spans(1, 'after')")
    received = otlp_sink.wait_for(401)
    wait_until(lambda: "spooled=0, replayed=400," in after.do("say(manager.stats())"))
    assert after.end() == ""
    assert names(otlp_sink) == once(400, "killed") + once(1, "after")
    told = [span for span in received if span.name.startswith("killed")]
    assert {span.resource["service.instance.id"] for span in told} == {instance}
    assert all(span.name == f"killed {span.attributes['number']}" for span in told)
    assert files(tmp_path) == []


def test_a_process_that_ends_no_span_takes_over_too(
    service, otlp_sink: OtlpSink, tmp_path: Path
) -> None:
    """The one started in the killed one's place may have nothing to do yet."""
    killed = service(otlp_sink.url)
    killed.do("spans(40, 'killed')")
    killed.kill()
    after = service(otlp_sink.url, 0.1)
    otlp_sink.wait_for(40)
    wait_until(lambda: "spooled=0, replayed=40," in after.do("say(manager.stats())"))
    assert after.end() == ""
    assert names(otlp_sink) == once(40, "killed")
    assert files(tmp_path) == []


def test_nothing_to_take_over_is_no_thread(service, otlp_sink: OtlpSink) -> None:
    """A process that is about to fork has none before its first span, with a spool too."""
    idle = service(otlp_sink.url)
    assert (
        idle.do(
            "import threading; say([thread.name for thread in threading.enumerate()])"
        )
        == "['MainThread']"
    )


def test_an_outage_longer_than_the_queue_loses_nothing(
    service, otlp_sink: OtlpSink, tmp_path: Path
) -> None:
    """A tenth of the spans finds room in memory; all of them arrive, once."""
    running = service(otlp_sink.url, 0.1, max_queue_size=200, max_export_batch_size=100)
    with stopped(otlp_sink):
        for part in range(20):
            running.do(f"spans(100, 'part {part}'); time.sleep(0.05)")
    otlp_sink.wait_for(2000)
    expected = sum((once(100, f"part {part}") for part in range(20)), Counter())
    wait_until(lambda: "spooled=0" in running.do("say(manager.stats())"))
    assert (
        "exported=2000, failed=0, dropped_queue_full=0, dropped_outage=0"
        in running.do("say(manager.stats())")
    )
    log = running.end()
    assert names(otlp_sink) == expected
    assert (
        len(
            [
                line
                for line in log.splitlines()
                if "is back after" in line and "0 spans were lost" in line
            ]
        )
        == 1
    )
    assert files(tmp_path) == []


def test_an_outage_that_outlasts_the_process(
    service, otlp_sink: OtlpSink, tmp_path: Path
) -> None:
    """Exit keeps its deadline and says what it leaves; the next process takes it to the collector."""
    with stopped(otlp_sink):
        first = service(otlp_sink.url, 0.1, exit_timeout_s=1.0)
        first.do("spans(50, 'first')")
        log = first.end()
    assert "exit: 0 spans exported, 0 dropped, 50 kept in the spool" in log
    second = service(otlp_sink.url, 0.1)
    second.do("spans(1, 'second')")
    otlp_sink.wait_for(51)
    second.end()
    assert names(otlp_sink) == once(50, "first") + once(1, "second")
    assert files(tmp_path) == []


def test_an_idle_process_replays_when_the_collector_is_back(
    service, otlp_sink: OtlpSink
) -> None:
    """Nothing new is needed to find out that it is."""
    running = service(otlp_sink.url, 0.1)
    with stopped(otlp_sink):
        running.do("spans(10)")
        wait_until(lambda: "spooled=10" in running.do("say(manager.stats())"))
    otlp_sink.wait_for(10)
    assert names(otlp_sink) == once(10)
    running.end()


def test_processes_share_a_directory(
    service, otlp_sink: OtlpSink, tmp_path: Path
) -> None:
    """What the living ones have is theirs; what the killed ones had is exported once, by one of them."""
    processes = [
        service(otlp_sink.url, 0.1 if number < 3 else FAR) for number in range(6)
    ]
    for number, process in enumerate(processes):
        process.do(f"spans(100, 'process {number}')")
    for process in processes[3:]:
        process.kill()
    otlp_sink.wait_for(600)
    for process in processes[:3]:
        process.end()
    assert names(otlp_sink) == sum(
        (once(100, f"process {number}") for number in range(6)), Counter()
    )
    assert files(tmp_path) == []


@pytest.mark.parametrize("dies", ["parent", "child"])
def test_either_side_of_a_fork_may_be_killed(
    service, otlp_sink: OtlpSink, tmp_path: Path, dies: str
) -> None:
    """The child has files of its own, and does not hold the locks of its parent's."""
    parent = service(otlp_sink.url)
    parent.do("spans(20, 'parent')")
    child = int(
        parent.do(
            "child = os.fork(); (spans(30, 'child'), say(os.getpid()), time.sleep(100)) if child == 0 else time.sleep(0)"
        )
    )
    os.kill(child, signal.SIGKILL) if dies == "child" else parent.kill()
    heir = service(otlp_sink.url, 0.1)
    heir.do("spans(1, 'heir')")
    died = once(30, "child") if dies == "child" else once(20, "parent")
    otlp_sink.wait_for(sum(died.values()) + 1)
    assert names(otlp_sink) == died + once(1, "heir")
    if dies == "parent":
        os.kill(child, signal.SIGKILL)
    heir.end()


def test_what_was_exported_before_the_kill_is_not_sent_again(
    service, otlp_sink: OtlpSink
) -> None:
    """The file says which of its spans are done."""
    killed = service(otlp_sink.url)
    killed.do("spans(10, 'sent'); manager.flush()")
    killed.do("spans(10, 'unsent')")
    killed.kill()
    heir = service(otlp_sink.url, 0.1)
    heir.do("spans(1, 'heir')")
    otlp_sink.wait_for(21)
    heir.end()
    assert names(otlp_sink) == once(10, "sent") + once(10, "unsent") + once(1, "heir")


def test_the_directory_is_bounded_in_bytes(
    service, otlp_sink: OtlpSink, tmp_path: Path
) -> None:
    """What does not fit is dropped and counted, as without a spool; the log says so once."""
    running = service(
        otlp_sink.url,
        0.1,
        spool_max_bytes=100_000,
        max_queue_size=10,
        max_export_batch_size=10,
    )
    with stopped(otlp_sink):
        for _ in range(20):
            running.do("spans(200); time.sleep(0.02)")
        used = sum(path.stat().st_size for path in (tmp_path / "spool").iterdir())
        stats = eval(
            running.do("import dataclasses; say(dataclasses.asdict(manager.stats()))")
        )
    assert 90_000 < used < 110_000
    assert stats["dropped_outage"] > 1000
    otlp_sink.wait_for(100)
    wait_until(lambda: "spooled=0" in running.do("say(manager.stats())"))
    stats = eval(running.do("say(dataclasses.asdict(manager.stats()))"))
    assert (
        stats["exported"]
        + stats["dropped_outage"]
        + stats["dropped_queue_full"]
        + stats["failed"]
        == 4000
    )
    assert sum(names(otlp_sink).values()) == stats["exported"]
    assert running.end().count("are allowed") == 1


def test_what_is_written_during_a_survey_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the moment when a file's size is read and the end of the survey, the program goes on."""
    spool = Spool(tmp_path, 20_000, FAR)
    spool.write(ended("span"))

    class Entry:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name, self.path, self._entry = entry.name, entry.path, entry

        def stat(self) -> os.stat_result:
            found = self._entry.stat()
            while spool.write(ended("meanwhile")):
                pass
            return found

    @contextmanager
    def scandir(path: Path) -> Iterator[Iterator[Entry]]:
        with os.scandir(path) as entries:
            yield map(Entry, entries)

    # the module's own name: pathlib and pytest list directories too, with all that an iterator of os offers
    monkeypatch.setattr(directory, "scandir", scandir)
    spool.survey()
    while spool.write(ended("after")):
        pass
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 21_000
    spool.close()


def test_a_file_is_bounded_in_bytes_whoever_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export thread may wait long for a collector that is down, and begins no new file meanwhile."""
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 2_000)
    spool = Spool(tmp_path, 10**6, FAR)
    for _ in range(50):
        spool.write(ended("span"))
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert max(sizes) < 3_000
    assert sum(sizes) > 10_000
    spool.close()


def test_the_directory_is_bounded_in_age(
    service, otlp_sink: OtlpSink, tmp_path: Path
) -> None:
    """A trace of last week tells nobody anything."""
    killed = service(otlp_sink.url)
    killed.do("spans(10, 'old')")
    killed.kill()
    [name] = files(tmp_path)
    os.utime(tmp_path / "spool" / name, (time.time() - 90_000,) * 2)
    heir = service(otlp_sink.url, 0.1)
    heir.do("spans(1, 'heir')")
    otlp_sink.wait_for(1)
    wait_until(lambda: name not in files(tmp_path))
    assert "spans of more than 86400 s ago are deleted" in heir.end()
    assert names(otlp_sink) == once(1, "heir")


def test_a_full_disk_costs_the_copy_alone(
    service, otlp_sink: OtlpSink, tmp_path: Path
) -> None:
    """The kernel refuses to let the file grow: spans are exported all the same, and the log says it once a minute."""
    running = service(otlp_sink.url)
    running.do(
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); spans(100)"
    )
    assert running.do("say(manager.flush())") == "True"
    log = running.end()
    assert names(otlp_sink) == once(100)
    assert log.count("writing to the spool") == 1
    assert files(tmp_path) == []


def test_a_directory_that_disappears_costs_the_copy_alone(
    service, otlp_sink: OtlpSink, tmp_path: Path
) -> None:
    """Someone cleans up; it is made anew."""
    running = service(otlp_sink.url, 0.05)
    running.do("spans(1, 'before')")
    otlp_sink.wait_for(1)
    (tmp_path / "spool").rename(tmp_path / "elsewhere")
    running.do("spans(10, 'between')")
    otlp_sink.wait_for(11)
    wait_until(lambda: (tmp_path / "spool").exists())
    running.end()
    assert names(otlp_sink) == once(1, "before") + once(10, "between")


def test_spans_whose_file_is_deleted_are_counted_as_failed(
    service, otlp_sink: OtlpSink, tmp_path: Path
) -> None:
    """Someone cleans up in an outage: the log says nothing of it again and again, the counts do."""
    running = service(otlp_sink.url, 0.1)
    with stopped(otlp_sink):
        running.do("spans(10)")
        wait_until(lambda: "spooled=10" in running.do("say(manager.stats())"))
        for path in (tmp_path / "spool").iterdir():
            path.unlink()
    running.do("spans(1, 'after')")
    wait_until(lambda: "failed=10" in running.do("say(manager.stats())"))
    assert "exported=1, " in running.do("say(manager.stats())")
    assert "spooled=0" in running.do("say(manager.stats())")
    assert "Traceback" not in running.end()
    assert names(otlp_sink) == once(1, "after")


def test_a_damaged_file_keeps_its_sound_spans(
    service, otlp_sink: OtlpSink, tmp_path: Path
) -> None:
    """Cut short by the kill, or scribbled over: what can be read is exported, and the file is gone."""
    killed = service(otlp_sink.url)
    killed.do("spans(10, 'killed')")
    killed.kill()
    [name] = files(tmp_path)
    path = tmp_path / "spool" / name
    content = path.read_bytes()
    path.write_bytes(
        b'\n[]\n["s"]\n["s",1,2]\nnull\n\xff\xfe'
        + content[:-40]
        + b'\n["d",7]\n{"s":1}'
    )
    heir = service(otlp_sink.url, 0.1)
    heir.do("spans(1, 'heir')")
    otlp_sink.wait_for(10)
    wait_until(lambda: name not in files(tmp_path))
    heir.end()
    assert names(otlp_sink) == once(9, "killed") + once(1, "heir")


class Picky(SpanExporter):
    """Takes every batch that has no poison in it."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.refused = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if any("poison" in span.name for span in spans):
            self.refused += 1
            return SpanExportResult.FAILURE
        self.taken += [span.name for span in spans]
        return SpanExportResult.SUCCESS


def test_spans_that_no_collector_takes_do_not_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused three times by a collector that takes others, they are deleted, and those behind them have their turn."""
    spool = Spool(tmp_path, 10**6, FAR)
    for name in ("poison", "behind"):
        spool.write(ended(name))
        spool.seal()
    spool.disown()
    picky = Picky()
    processor = BatchExportProcessor(
        lambda: picky,
        "http://collector",
        BatchOptions(schedule_delay_s=0.05),
        SpoolOptions(tmp_path),
    )
    deadline = time.monotonic() + 30
    while "behind" not in picky.taken:
        processor.on_end(ended("fresh"))
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert processor.stats().replayed == 1
    processor.shutdown()
    assert caplog.text.count("but not 1 of") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_was_taken_over_and_refused_stays_for_the_next(tmp_path: Path) -> None:
    """The heir of a dead process is stopped before the collector has taken what it found."""
    spool = Spool(tmp_path, 10**6, FAR)
    spool.write(ended("poison"))
    spool.disown()
    picky = Picky()
    processor = BatchExportProcessor(
        lambda: picky,
        "http://collector",
        BatchOptions(schedule_delay_s=0.3),
        SpoolOptions(tmp_path),
    )
    processor.on_end(ended("fresh"))
    wait_until(lambda: picky.refused > 0)
    processor.shutdown()
    left = Spool(tmp_path, 10**6, FAR)
    assert names_in(oldest(left)) == ["poison"]
    left.disown()


def test_a_refused_batch_does_not_cost_the_rest_of_its_file(tmp_path: Path) -> None:
    """The spans behind it in the same file are exported."""
    spool = Spool(tmp_path, 10**6, FAR)
    for name in ("poison", "behind", "last"):
        spool.write(ended(name))
    spool.disown()
    picky = Picky()
    options = BatchOptions(schedule_delay_s=0.05, max_export_batch_size=1)
    processor = BatchExportProcessor(
        lambda: picky, "http://collector", options, SpoolOptions(tmp_path)
    )
    deadline = time.monotonic() + 30
    while "last" not in picky.taken:
        processor.on_end(ended("fresh"))
        assert time.monotonic() < deadline
        time.sleep(0.02)
    processor.shutdown()
    assert Counter(picky.taken)["behind"] == 1
    assert picky.refused == 3
    assert list(tmp_path.iterdir()) == []


class Slow(SpanExporter):
    """Takes its time for each batch."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        time.sleep(0.1)
        self.taken += [span.name for span in spans]
        return SpanExportResult.SUCCESS


@pytest.fixture
def long_replay(tmp_path: Path) -> Iterator[tuple[BatchExportProcessor, Slow]]:
    """A processor that has begun to replay forty spans of a dead process, in batches of one, a tenth of a second each."""
    spool = Spool(tmp_path, 10**6, FAR)
    for _ in range(40):
        spool.write(ended("old"))
    spool.disown()
    slow = Slow()
    options = BatchOptions(schedule_delay_s=0.05, max_export_batch_size=1)
    processor = BatchExportProcessor(
        lambda: slow, "http://collector", options, SpoolOptions(tmp_path)
    )
    processor.on_end(ended("first"))
    wait_until(lambda: "old" in slow.taken)
    yield processor, slow
    processor.shutdown(5.0)


def test_a_long_replay_does_not_hold_up_a_flush(
    long_replay: tuple[BatchExportProcessor, Slow],
) -> None:
    """What this process has finished goes first; the replay is taken up again where it was left."""
    processor, slow = long_replay
    processor.on_end(ended("fresh"))
    before = time.monotonic()
    assert processor.force_flush(5_000)
    assert time.monotonic() - before < 2
    assert slow.taken.count("old") < 40
    wait_until(lambda: processor.stats().replayed == 40)
    assert Counter(slow.taken) == {"first": 1, "old": 40, "fresh": 1}


def test_a_long_replay_does_not_hold_up_the_exit(
    long_replay: tuple[BatchExportProcessor, Slow], tmp_path: Path
) -> None:
    """The rest stays for the next process."""
    processor, slow = long_replay
    processor.on_end(ended("fresh"))
    before = time.monotonic()
    processor.shutdown(5.0)
    assert time.monotonic() - before < 2
    assert "fresh" in slow.taken
    assert 0 < slow.taken.count("old") < 40
    left = Spool(tmp_path, 10**6, FAR)
    assert len(list(oldest(left).unsettled())) == 40 - slow.taken.count("old")
    left.disown()


def test_nobody_else_can_read_it(service, otlp_sink: OtlpSink, tmp_path: Path) -> None:
    """Spans say much of a service's users."""
    running = service(otlp_sink.url)
    running.do("spans(1)")
    [name] = files(tmp_path)
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "spool" / name).stat().st_mode & 0o777 == 0o600
    running.end()


def test_off_by_default_and_wrong_directories_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At set-up, with what, the value and the fix; a configuration alone touches no disk."""
    (tmp_path / "file").write_text("")
    assert TracingConfig(service_name="s").spool_dir is None
    assert (
        TracingConfig(service_name="s", spool_dir=tmp_path / "made").spool_dir
        == tmp_path / "made"
    )
    assert not (tmp_path / "made").exists()
    with pytest.raises(
        ConfigurationError,
        match=r"spool_dir='.*file' is not valid: it cannot be made .* give a local directory",
    ):
        setup_tracing(TracingConfig(service_name="s", spool_dir=str(tmp_path / "file")))
    with pytest.raises(
        ConfigurationError,
        match=r"spool_dir=7 is not valid: give the path of a directory",
    ):
        TracingConfig(service_name="s", spool_dir=7)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="spool_max_bytes=0 is not valid"):
        TracingConfig(service_name="s", spool_max_bytes=0)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigurationError, match="may not write there"):
        setup_tracing(TracingConfig(service_name="s", spool_dir=tmp_path))


_text = st.text(max_size=8)
_scalar = (
    _text
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=8)
)
_attributes = st.dictionaries(
    _text,
    _scalar | st.lists(_text, max_size=3) | st.lists(st.integers(-9, 9), max_size=3),
    max_size=4,
)
_context = st.builds(
    SpanContext,
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    is_remote=st.booleans(),
    trace_flags=st.integers(0, 3).map(TraceFlags),
    trace_state=st.sampled_from(
        [None, TraceState([("vendor", "a=1"), ("other", "2")])]
    ),
)


def scope_as_sent(span: ReadableSpan) -> InstrumentationScope:
    """Return the scope in the SDK's message: 1.28 sends neither schema URL nor attributes."""
    sent = encode_spans([span]).resource_spans[0].scope_spans[0]
    attributes = {pair.key: pair.value.int_value for pair in sent.scope.attributes}
    return InstrumentationScope(
        sent.scope.name, sent.scope.version, sent.schema_url, attributes
    )


@given(
    _text,
    _context,
    st.none() | _context,
    _attributes,
    st.lists(_context, max_size=2),
    st.sampled_from(SpanKind),
)
def test_any_span_comes_back_as_it_was(
    name, context, parent, attributes, linked, kind
) -> None:
    """Through a line of text, and with the resource and scope that it had."""
    from opentelemetry.sdk.trace import Event

    resource = Resource({"service.name": "s", **attributes}, "https://schema")
    span = ReadableSpan(
        name=name,
        context=context,
        parent=parent,
        resource=resource,
        attributes=attributes,
        events=[Event("event", attributes, 7)],
        links=[Link(linked_to, attributes) for linked_to in linked],
        kind=kind,
        status=Status(StatusCode.ERROR, name),
        start_time=1,
        end_time=2,
        instrumentation_scope=InstrumentationScope(
            "scope", "1.0", "https://schema", {"a": 1}
        ),
    )
    written = Encoder().span(span)
    lines = (group_record(3, written.group) + span_record(written, 3)).split(b"\n")
    [read] = spans_without(set(), lines)
    found = decoded(read)
    sampled = SpanContext(
        context.trace_id, context.span_id, False, TraceFlags(1), context.trace_state
    )
    assert found.context == sampled
    assert (found.parent and found.parent.span_id) == (parent and parent.span_id)
    assert (found.parent and found.parent.is_remote) == (parent and parent.is_remote)
    for field in ("name", "kind", "start_time", "end_time", "resource"):
        assert getattr(found, field) == getattr(span, field), field
    assert found.instrumentation_scope == scope_as_sent(span)
    assert equal(found.attributes, attributes)
    assert (found.status.status_code, found.status.description or "") == (
        StatusCode.ERROR,
        span.status.description,
    )
    [event] = found.events
    assert (event.name, event.timestamp) == ("event", 7)
    assert equal(event.attributes, attributes)
    assert [link.context.span_id for link in found.links] == [
        to.span_id for to in linked
    ]
    assert all(equal(link.attributes, attributes) for link in found.links)
    settled = settled_ids([settled_record([context.span_id]).lstrip()])
    assert list(spans_without(settled, lines)) == []


def equal(found: Any, attributes: Mapping[str, Any]) -> bool:
    """Whether attributes are those that the SDK keeps of `attributes`."""
    return dict(found or {}) == dict(BoundedAttributes(attributes=attributes))


OLD = rb"""
["r",3,{"service.name":"s","n":[1,2]},"https://schema"]
["s",3,"old",[1,5,false,1,"a=b"],[1,4,true,1,""],1,1,2,[2,"why"],{"text":"\u00e9","bytes":{"\u0000bytes":"AP8="}},[["e",3,{"a":1}]],[[[1,4,true,1,""],{"x":1}]],["scope","1.0","https://scope",{"a":1}]]
["s",3,"gone",[1,6,false,1,""],null,1,1,2,[0,null],{},[],[],null]
["d",[6]]"""


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """Its spans are JSON; they go on beside encoded ones."""
    (tmp_path / f"1{SUFFIX}").write_bytes(OLD)
    spool = Spool(tmp_path, 10**6, FAR)
    [span] = oldest(spool).unsettled()
    assert isinstance(span, ReadableSpan)
    parent = SpanContext(1, 4, True, TraceFlags(1))
    assert span.context == SpanContext(
        1, 5, False, TraceFlags(1), TraceState([("a", "b")])
    )
    assert (span.name, span.parent, span.kind) == ("old", parent, SpanKind.SERVER)
    assert dict(span.attributes or {}) == {"text": "é", "bytes": b"\x00\xff"}
    assert [(event.name, event.timestamp) for event in span.events] == [("e", 3)]
    assert [link.context for link in span.links] == [parent]
    assert span.resource == Resource(
        {"service.name": "s", "n": [1, 2]}, "https://schema"
    )
    assert span.instrumentation_scope == InstrumentationScope(
        "scope", "1.0", "https://scope", {"a": 1}
    )
    spool.close()


def test_a_record_that_is_damaged_or_cut_short_costs_its_span_alone() -> None:
    """A message that is not whole would cost the batch: the collector refuses what is no OTLP."""
    spans = [Encoder().span(ended(name)) for name in ("first", "second")]
    record = span_record(spans[0], 3)
    others = group_record(3, spans[0].group), span_record(spans[1], 3)
    for size in range(len(record)):
        [kept] = spans_without(
            set(), b"".join((others[0], record[:size], others[1])).split(b"\n")
        )
        assert decoded(kept).name == "second"
    scribbled = record.replace(record[40:44], b"AAAA")
    [kept] = spans_without(
        set(), b"".join((others[0], scribbled, others[1])).split(b"\n")
    )
    assert decoded(kept).name == "second"


@pytest.mark.parametrize(
    "line",
    [b"[" * 100_000, b'["s",1', b'["d",7]', b'["r",1,[]]', b'["g",1,1]', b"1e999"],
)
def test_a_foreign_line_does_not_stop_the_reading(line: bytes) -> None:
    """It would stop the replay of this file, and of all younger ones, for ever."""
    span = Encoder().span(ended("sound"))
    lines = [line, group_record(3, span.group)[1:], span_record(span, 3)[1:], line]
    [kept] = spans_without(settled_ids(lines), lines)
    assert decoded(kept).name == "sound"


def oldest(spool: Spool) -> Segment:
    found = spool.oldest()
    assert found is not None
    return found


def write(spool: Spool, name: str) -> Segment:
    """Write an ended span; return where."""
    written = spool.write(ended(name))
    assert written is not None
    _, segment = written
    return segment


def names_in(segment: Segment) -> list[str]:
    """The names of the spans that wait in a file."""
    return [decoded(span).name for span in segment.unsettled()]


def ended(name: str) -> ReadableSpan:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span(name)
    span.end()
    assert isinstance(span, ReadableSpan)
    return span


def test_a_file_is_one_process_s_alone(tmp_path: Path) -> None:
    """Locked while its owner lives; in one process too, since the lock is the open file's."""
    first, second = (Spool(tmp_path, 10**6, FAR) for _ in range(2))
    segment = write(first, "span")
    assert second.oldest() is None
    assert [path.suffix for path in tmp_path.iterdir()] == [SUFFIX]
    first.disown()
    adopted = oldest(second)
    assert (adopted.path, adopted.is_adopted) == (segment.path, True)
    assert names_in(adopted) == ["span"]
    assert first.oldest() is None
    second.remove(adopted)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_sealed_meanwhile_takes_no_span(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export thread may remove it at once: a span that is late for it belongs in the next one."""
    spool = Spool(tmp_path, 10**6, FAR)
    first = write(spool, "first")
    in_time = Segment.write

    def write_late(segment: Segment, span: EncodedItem) -> int:
        first.is_sealed = True
        return in_time(segment, span)

    monkeypatch.setattr(Segment, "write", write_late)
    second = write(spool, "second")
    assert second is not first
    assert names_in(first) == ["first"]
    assert names_in(second) == ["second"]
    spool.close()


def test_files_that_two_threads_begin_at_once_are_both_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them is not the current one, and is replayed and removed all the same."""
    spool = Spool(tmp_path, 10**6, FAR)
    begin, written = Segment.begin, []

    def begin_both(directory: Path) -> Segment:
        monkeypatch.setattr(Segment, "begin", begin)
        written.append(write(spool, "other thread"))
        return begin(directory)

    monkeypatch.setattr(Segment, "begin", begin_both)
    written.append(write(spool, "this thread"))
    assert len(list(tmp_path.iterdir())) == 2
    for found in written:
        found.spill()
    spool.seal()
    names = []
    while (waiting := spool.oldest()) is not None:
        names += names_in(waiting)
        spool.remove(waiting)
    assert sorted(names) == ["other thread", "this thread"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_never_seen_before_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in that moment, it would be taken for a dead process's and removed, with the spans that are yet to come."""
    seen: list[Path] = []
    locked = segment._locked

    def look_before(file: FileIO) -> bool:
        seen.extend(tmp_path.glob(f"*{SUFFIX}"))
        return locked(file)

    monkeypatch.setattr(segment, "_locked", look_before)
    begun = Segment.begin(tmp_path)
    assert (seen, begun.path.exists()) == ([], True)
    begun.remove()


def test_of_two_heirs_one_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slower one has opened the file, and gets its lock, when the faster one is through with it."""
    Segment.begin(tmp_path).close()
    [path] = tmp_path.iterdir()
    faster = Segment.adopted(path)
    assert faster is not None
    locked = segment._locked

    def after_the_other(file: FileIO) -> bool:
        faster.remove()
        return locked(file)

    monkeypatch.setattr(segment, "_locked", after_the_other)
    assert Segment.adopted(path) is None


def test_a_disk_without_locks_is_left_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Some network file systems refuse them: no span is written there, nothing is left behind, and the log says it.

    The disk is asked once a second, not by each span.
    """
    asked: list[float] = []

    def refuse(*_: object) -> None:
        asked.append(time.monotonic())
        raise OSError(errno.ENOLCK, "No locks available")

    spool = Spool(tmp_path, 10**6, FAR)
    with monkeypatch.context() as refusing:
        refusing.setattr(fcntl, "flock", refuse)
        wait_until(lambda: spool.write(ended("span")) or len(asked) == 3)
    assert all(later - before >= 1 for before, later in pairwise(asked))
    assert list(tmp_path.iterdir()) == []
    assert "No locks available" in caplog.text
    wait_until(lambda: spool.write(ended("span")))
    assert len(list(tmp_path.iterdir())) == 1
    spool.close()


def test_a_file_that_cannot_be_deleted_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The directory has become read-only: what was exported of each of its files is not there for the next process."""
    spool, batch = Spool(tmp_path, 10**6, FAR), []
    for name in ("first", "second"):
        written = spool.write(ended(name))
        assert written is not None
        batch.append(written)
        spool.seal()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as read_only:
        read_only.setattr(Path, "unlink", refuse)
        spool.settle(batch, exported=True)
        spool.close()
    assert "Read-only file system" in caplog.text
    adopted = [Segment.adopted(path) for path in tmp_path.iterdir()]
    assert [names_in(found) for found in adopted if found] == [[], []]
    for found in filter(None, adopted):
        found.remove()
