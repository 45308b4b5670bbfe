"""docs/metrics.md lists every metric that the packages make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.promise("CORE-96")
def test_the_page_is_what_the_code_makes() -> None:
    """By a run of all packages, in a process of its own."""
    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", "scripts.metrics"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
