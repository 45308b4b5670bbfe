"""Run by ``nox -s rehearsal`` in an environment of built wheels: a request's trace goes through a worker of mixed releases.

The worker runs in this environment and in that of ``OTHER_PYTHON``, an interpreter with other releases.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from obs_core.testing import OtlpSink

from tests.services import celery_worker

HERE = Path(__file__).parent
WORKERS = {"same": sys.executable, "other": os.environ.get("OTHER_PYTHON", "")}


@pytest.mark.parametrize("releases", WORKERS)
def test_mixed_releases_make_one_trace(
    releases: str, redis_url: str, otlp_sink: OtlpSink
) -> None:
    """Service and worker, each with its own releases, are one trace to the statement."""
    told = {
        "REDIS_URL": redis_url,
        "SINK_URL": otlp_sink.url,
        "PYTHONWARNINGS": "ignore",
    }
    with celery_worker(
        "mixed_service",
        "--concurrency",
        "1",
        folder=HERE,
        python=WORKERS[releases],
        **told,
    ):
        service = [sys.executable, str(HERE / "mixed_service.py")]
        answer = subprocess.check_output(
            service, env={**os.environ, **told}, text=True, timeout=90
        )
    print(answer, end="")
    ours, theirs = answer.strip().split(" -> ")
    core, celery, _ = ours.split()
    assert core != celery
    assert (ours == theirs) is (releases == "same")
    assert (
        otlp_sink.tree()
        == """\
request [INTERNAL]
  publish tell [PRODUCER]
    process tell [CONSUMER]
      SELECT [CLIENT]"""
    )
