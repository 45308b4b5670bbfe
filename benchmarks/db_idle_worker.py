"""The root spans of a Celery worker that has nothing to do for a minute, on an instrumented Redis: contrib's and ours.

Run: ``python benchmarks/db_idle_worker.py [SECONDS]``; it brings Redis, worker and OTLP receiver along.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

from obs_core.testing import OtlpSink

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.services import celery_worker, embedded_redis  # noqa: E402 - after the path

APP = ROOT / "packages" / "obs-db" / "tests"


def roots_of_an_idle_worker(tracing: str, idle_s: float) -> Counter[str]:
    """Run a worker of two children with events on for `idle_s`, and count the roots it exported, by name."""
    with embedded_redis() as url, OtlpSink() as sink:
        told = {"REDIS_URL": url, "SINK_URL": sink.url, "TRACING": tracing}
        with celery_worker(
            "worker_app", "--concurrency", "2", "--task-events", folder=APP, **told
        ):
            time.sleep(idle_s)
        return Counter(span.name for span in sink.spans if not span.parent_id)


def main() -> None:
    """Print both."""
    idle_s = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    for tracing in ("contrib", "obs-db"):
        roots = roots_of_an_idle_worker(tracing, idle_s)
        told = ", ".join(f"{count} {name}" for name, count in roots.most_common())
        print(
            f"{tracing:8} {sum(roots.values()):5} root spans in {idle_s:g} s idle{': ' + told if told else ''}",
            flush=True,
        )


if __name__ == "__main__":
    main()
