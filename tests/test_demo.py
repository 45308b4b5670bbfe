"""The demo shows what the README says: each request is one whole trace, and nothing is lost at the stop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parent.parent / "examples" / "services" / "demo.py"


@pytest.fixture(scope="module")
def output() -> str:
    """What the demo prints; it stops every process right after its last task."""
    if sys.version_info < (3, 11):
        pytest.skip("the demo's Redis needs Python 3.11")
    environment = {**os.environ, "COLUMNS": "160", "NO_COLOR": "1", "GRPC_VERBOSITY": "ERROR"}
    done = subprocess.run([sys.executable, str(DEMO)], env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_request_is_one_whole_trace(output: str) -> None:
    """Three requests, three traces, all services."""
    assert "3 requests → 3 traces" in output
    assert "each request is one whole trace" in output


def test_good_request_goes_through_every_service_in_order(output: str) -> None:
    """HTTP → HTTP → SQL → publish → process → body → … → LLM, gRPC and DynamoDB, in one tree."""
    wanted = [
        "POST /runs",
        "POST /devices",
        "INSERT devices",
        "publish genymotion.boot",
        "process genymotion.boot",
        "UPDATE devices",
        "process enricher.describe",
        "chat gpt-4o-mini",
        "enricher.Rating/Rate",
        "DynamoDB.PutItem",
    ]
    tree = output.split("good", 1)[1]
    positions = [tree.find(name) for name in wanted]
    assert -1 not in positions, dict(zip(wanted, positions, strict=True))


def test_failing_request_shows_both_attempts_and_the_exception(output: str) -> None:
    """The retried attempt and the last one stand in the same trace, with the error's type."""
    tree = output.split("failing", 1)[1]
    assert tree.count("process genymotion.boot") >= 2
    assert "DeviceUnreachableError" in tree
