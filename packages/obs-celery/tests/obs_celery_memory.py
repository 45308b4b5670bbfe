"""Print by how much 10,000 tasks grow a process of their own: ``objects bytes``, after 8,000 to warm up."""

from __future__ import annotations

import gc
import logging

import psutil
from celery import Celery, Task, signals
from celery.app.task import Context
from obs_celery import instrument_celery
from opentelemetry.sdk.trace import TracerProvider

logging.disable(logging.CRITICAL)
app = Celery("memory", broker="memory://localhost", set_as_current=False)


@app.task(shared=False, name="work", bind=True)
def body(self: Task, outcome: str) -> None:
    if outcome == "fail":
        raise ValueError("boom")
    if outcome == "retry" and self.request.retries == 0:
        raise self.retry(countdown=0)


class Broken:
    """A producer whose publish fails."""

    def __init__(self) -> None:
        self.connection = app.connection_for_write()

    def __enter__(self) -> Broken:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def publish(self, *_: object, **__: object) -> None:
        raise ZeroDivisionError


def run(times: int) -> None:
    """Execute, and now and then revoke and fail to publish."""
    work = app.tasks["work"]
    for index in range(times):
        work.apply((("ok", "fail", "retry")[index % 3],))
        if index % 5 == 0:
            request = Context(id=f"revoked-{index}", task="work")
            signals.task_revoked.send(
                sender=work,
                request=request,
                terminated=False,
                signum=None,
                expired=False,
            )
        if index % 7 == 0:
            try:
                app.send_task("work", producer=Broken())
            except ZeroDivisionError:
                pass
            else:
                raise AssertionError("the publish was to fail")


def size() -> tuple[int, int]:
    """Return the number of tracked objects and the resident bytes."""
    gc.collect()
    return len(gc.get_objects()), psutil.Process().memory_info().rss


if __name__ == "__main__":
    instrument_celery(app, tracer_provider=TracerProvider(shutdown_on_exit=False))
    run(8_000)  # until then the allocator takes some 9 MB, with bare Celery as well
    before = size()
    run(10_000)
    after = size()
    print(after[0] - before[0], after[1] - before[1])
