"""genymotion's Celery worker: boots devices, then asks enricher to describe the run."""

import os

import storage
import tracing  # noqa: F401 - tracing before what it traces
from celery import Celery, Task

celery = Celery(
    "genymotion", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"]
)
celery.conf.update(
    task_default_queue="genymotion",
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


class DeviceUnreachableError(Exception):
    """The device did not answer."""


@celery.task(bind=True, name="genymotion.boot", max_retries=1)
def boot(self: Task, run: str, device: str) -> str:
    if device == "broken":
        storage.set_state(run, "retrying" if self.request.retries == 0 else "failed")
        raise self.retry(
            exc=DeviceUnreachableError(f"{device} did not answer"), countdown=0.2
        )
    if device == "slow":
        storage.scan_catalogue()
    storage.set_state(run, "booted")
    celery.send_task("enricher.describe", args=[run, device], queue="enricher")
    return "booted"
