"""Beat: a real ``celery beat`` process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from obs_celery_worker import HERE, Worker
from obs_core.testing import SinkSpan


@pytest.mark.promise("CEL-18", "CEL-01")
def test_each_tick_is_a_trace_with_its_entrys_name(shared_worker: Worker, redis_url: str, tmp_path: Path) -> None:
    """The publish is the root, the execution stands below it."""
    env = {
        **os.environ,
        "TEST_BROKER": redis_url,
        "TEST_QUEUE": shared_worker.queue,
        "TEST_COLLECTOR": shared_worker.sink.url,
        "TEST_BEAT": "0.3",
        "PYTHONPATH": str(HERE),
    }
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "obs_celery_app",
        "beat",
        "-s",
        str(tmp_path / "schedule"),
        "--max-interval",
        "1",
    ]

    def ticks(spans: list[SinkSpan]) -> list[SinkSpan]:
        return [span for span in spans if span.attributes.get("celery.beat.entry") == "every-now-and-then"]

    def executed(spans: list[SinkSpan]) -> list[SinkSpan]:
        known = {span.span_id for span in ticks(spans)}
        return [span for span in spans if span.kind == "CONSUMER" and span.parent_id in known]

    with (tmp_path / "beat.log").open("w") as log:
        beat = subprocess.Popen(command, cwd=HERE, env=env, stdout=log, stderr=log)
        try:
            spans = shared_worker.sink.wait_for(lambda spans: len(executed(spans)) >= 2)
        finally:
            beat.terminate()
            beat.wait(20)
    assert {(span.kind, span.parent_id) for span in ticks(spans)} == {("PRODUCER", 0)}
    assert len({span.trace_id for span in ticks(spans)}) == len(ticks(spans))
