"""Nothing is kept: neither by what succeeds nor by what fails."""

from __future__ import annotations

import subprocess
import sys

import pytest
from obs_celery_worker import HERE


@pytest.mark.promise("CEL-42", "CEL-02")
def test_ten_thousand_tasks_leave_nothing() -> None:
    """Tasks that end well, fail and retry, revokes and failed publishes: objects and RSS stay where they were.

    In a process of its own, since the resident size of this one is also that of every test before.
    """
    command = [sys.executable, str(HERE / "obs_celery_memory.py")]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=110).stdout
    objects, resident_bytes = map(int, output.split())
    assert objects < 200
    assert resident_bytes < 8_000_000
