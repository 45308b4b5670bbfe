"""``opentelemetry-instrument`` picks the package up, and nothing is told twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import redis, sqlalchemy
with sqlalchemy.create_engine("sqlite://").connect() as connection:
    connection.execute(sqlalchemy.text("SELECT 1 AS one"))
try:
    redis.Redis(port=1, socket_timeout=1).ping()
except redis.ConnectionError:
    pass
"""


def run_under_the_launcher(disabled: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": disabled,
    }
    command = [
        str(Path(sys.executable).parent / "opentelemetry-instrument"),
        sys.executable,
        "-c",
        PROGRAM,
    ]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=90, check=True
    )


@pytest.mark.promise("DB-01", "DB-20")
def test_the_launcher_finds_us() -> None:
    """With contrib's switched off, both libraries are traced by us."""
    done = run_under_the_launcher("sqlalchemy,redis")

    assert [line.strip() for line in done.stdout.splitlines() if '"name"' in line] == [
        '"name": "SELECT",',
        '"name": "PING",',
    ]
    assert '"db.system.name": "redis"' in done.stdout


@pytest.mark.promise("DB-01", "DB-20")
def test_the_launcher_with_contrib() -> None:
    """With contrib's installed and willing, we step aside and say how to change that; nothing is told twice."""
    done = run_under_the_launcher("sqlalchemy")

    assert done.stdout.count('"name": "PING"') == 1
    assert done.stderr.count("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=redis") == 1
