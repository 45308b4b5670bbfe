"""The spool's backlog goes out beside live traffic."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from obs_core._export.options import BatchOptions, SpoolOptions
from obs_core._export.processor import BatchExportProcessor
from obs_core._export.spool.spool import Spool
from obs_core.testing import wait_until
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

pytestmark = pytest.mark.promise("CORE-32")
DRILL = Path(__file__).parents[3] / "benchmarks" / "spool_drill.py"
BATCH = 10


def ended(name: str) -> ReadableSpan:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span(name)
    span.end()
    assert isinstance(span, ReadableSpan)
    return span


def left_behind(directory: Path, names: Sequence[str], files: int = 1) -> None:
    """Leave files of a process that is gone, all the names in each."""
    spool = Spool(directory, 10**7, 3600.0)
    for _ in range(files):
        for name in names:
            spool.write(ended(name))
        spool.seal()
    spool.disown()


class Busy(SpanExporter):
    """Takes what it is given, while the program ends another batch of spans: the queue is never empty."""

    def __init__(self) -> None:
        self.batches: list[str] = []
        self.processor: BatchExportProcessor | None = None
        self.is_busy = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        [name] = {span.name for span in spans}
        self.batches.append(name)
        while self.processor is None:
            time.sleep(0.01)
        for _ in range(BATCH if name == "live" and self.is_busy else 0):
            self.processor.on_end(ended("live"))
        return SpanExportResult.SUCCESS


def test_a_backlog_and_live_spans_take_turns(tmp_path: Path) -> None:
    """With a queue that always holds a full batch, one batch of the backlog goes out for each live one or two."""
    left_behind(tmp_path, ["old"] * BATCH, files=20)
    busy = Busy()
    options = BatchOptions(
        schedule_delay_s=0.05,
        max_export_batch_size=BATCH,
        max_queue_size=1000,
    )
    processor = busy.processor = BatchExportProcessor(
        lambda: busy, "http://collector", options, SpoolOptions(tmp_path)
    )
    for _ in range(2 * BATCH):
        processor.on_end(ended("live"))
    wait_until(lambda: processor.stats().replayed == 20 * BATCH)
    busy.is_busy = False
    assert processor.force_flush(20_000)
    processor.shutdown(10.0)
    turns = "".join(name[0] for name in busy.batches)
    while_both = turns[: turns.rindex("o")]
    assert "oo" not in while_both
    assert while_both.count("l") > 10
    stats = processor.stats()
    assert (stats.dropped_queue_full, stats.spooled) == (0, 0)


class Ordered(SpanExporter):
    """Takes what it is given once `is_up`, and notes the order."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.is_up = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if not self.is_up:
            return SpanExportResult.FAILURE
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS


def test_the_oldest_goes_first_whoever_left_it(tmp_path: Path) -> None:
    """A dead process's files from before those that this process has left in the outage."""
    left_behind(tmp_path, ["before"])
    exporter = Ordered()
    options = BatchOptions(
        schedule_delay_s=0.05,
        max_export_batch_size=1,
        max_queue_size=1,
    )
    processor = BatchExportProcessor(
        lambda: exporter, "http://collector", options, SpoolOptions(tmp_path)
    )
    for name in ("queued", "own", "own too"):
        processor.on_end(ended(name))
    left_behind(tmp_path, ["after"])
    wait_until(lambda: processor.stats().spooled == 3)
    exporter.is_up = True
    wait_until(lambda: len(exporter.names) == 5)
    processor.shutdown()
    assert exporter.names == ["before", "queued", "own", "own too", "after"]


def test_the_only_file_goes_out_when_nothing_new_comes(tmp_path: Path) -> None:
    """All spans ended in the outage, and the queue has given them up: nothing else tells that the collector is back."""
    exporter = Ordered()
    options = BatchOptions(schedule_delay_s=0.3, max_export_batch_size=10)
    processor = BatchExportProcessor(
        lambda: exporter, "http://collector", options, SpoolOptions(tmp_path)
    )
    for _ in range(10):
        processor.on_end(ended("span"))
    wait_until(lambda: processor.stats().spooled == 10)
    exporter.is_up = True
    wait_until(lambda: len(exporter.names) == 10)
    processor.shutdown()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_an_outage_under_live_traffic_costs_nothing(
    clean_environment: Callable[..., dict[str, str]], protocol: str
) -> None:
    """Three services, killed and restarted in the outage of a real collector, at 300 spans a second each."""
    command = [sys.executable, str(DRILL), "--json", "--outage", "10"]
    command += ["--protocol", protocol, "--processes", "3"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=clean_environment()
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["lost"], figures["doubled"], figures["bytes_left"]) == (0, 0, 0), (
        done.stderr
    )
    # benchmarks/spool_drill.py measures the rate, on a machine that runs no other test meanwhile
    assert figures["drain_s"] < 2 * figures["outage_s"]
