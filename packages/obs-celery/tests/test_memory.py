"""Nothing is kept: neither by what succeeds nor by what fails."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import pytest
from celery import Celery
from obs_celery._state import TaskFacts
from obs_celery_worker import HERE
from obs_core.testing import SpanRecorder


@pytest.mark.promise("CEL-42", "CEL-02")
@pytest.mark.soak
def test_ten_thousand_tasks_leave_nothing() -> None:
    """Tasks that end well, fail and retry, revokes and failed publishes: objects and RSS stay where they were.

    In a process of its own, since the resident size of this one is also that of every test before.
    """
    objects, resident_bytes = map(int, run("obs_celery_memory.py").split())
    assert objects < 200
    assert resident_bytes < 8_000_000


@pytest.mark.soak
@pytest.mark.promise("CEL-42")
def test_a_real_worker_keeps_nothing() -> None:
    """Publisher, main process and child hold as many of our objects and of OpenTelemetry's after 120 tasks as before.

    The same script sends 10,000 by itself; what Celery keeps of each, and the resident size, say something only then.
    """
    for line in run("obs_celery_load.py", "120").splitlines():
        own = int(line.partition(" own ")[2].split()[1].replace(",", ""))
        assert own < 30, line


@pytest.mark.promise("CEL-42")
def test_names_without_end_are_forgotten(traced: SpanRecorder) -> None:
    """`send_task` takes any string."""
    app = Celery("names", broker="memory://", set_as_current=False)
    for index in range(1_500):
        app.send_task(f"name-{index}")
    traced.clear()
    known = [
        item
        for item in gc.get_objects()
        if isinstance(item, TaskFacts) and "name-" in item.publishes
    ]
    assert 0 < len(known) <= 1_024


def run(script: str, *arguments: str) -> str:
    """Return what a script of this folder prints."""
    environ = {**os.environ, "PYTHONPATH": str(HERE.parents[2])}
    command = [sys.executable, str(HERE / script), *arguments]
    return subprocess.run(
        command, env=environ, stdout=subprocess.PIPE, text=True, check=True, timeout=110
    ).stdout
