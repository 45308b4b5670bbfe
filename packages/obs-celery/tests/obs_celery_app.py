"""The app of the tests: imported by the tests, which publish, and by real workers, which execute."""

from __future__ import annotations

import os
import signal
import sys
import time

import redis
from celery import Celery, Task
from celery.exceptions import Ignore, Reject
from celery.worker.control import inspect_command
from obs_celery import instrument_celery
from obs_celery_worker import folder_options, footprint, start_sentry
from obs_core import TracingConfig, keep_trace, setup_tracing
from obs_core.integration import is_worker_process
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import TracerProvider

environ = os.environ
app = Celery(
    "obs-celery-tests",
    broker=environ.get("TEST_BROKER", "memory://"),
    backend=environ.get("TEST_BACKEND") or None,
)
app.conf.update(
    task_default_queue=environ.get("TEST_QUEUE", "celery"),
    task_protocol=int(environ.get("TEST_PROTOCOL", "2")),
    worker_cancel_long_running_tasks_on_connection_loss=True,
    broker_connection_retry_on_startup=True,
    result_expires=600,
    task_publish_retry=False,
    worker_hijack_root_logger=False,
    broker_transport_options={"visibility_timeout": 3600, "fanout_prefix": True},
)
if "TEST_FOLDER" in environ:
    app.conf.broker_transport_options = folder_options(environ["TEST_FOLDER"])

app.conf.update(eval(environ.get("TEST_CONF", "{}")))

if "TEST_BEAT" in environ:
    entry = {"task": "obs_celery_app.ok", "schedule": float(environ["TEST_BEAT"])}
    app.conf.beat_schedule = {"every-now-and-then": entry}

if "TEST_FOREIGN_PROVIDER" in environ:
    trace.set_tracer_provider(TracerProvider())

if "TEST_SENTRY" in environ:
    start_sentry(environ["TEST_SENTRY"])

if "TEST_COLLECTOR" in environ:
    setup_tracing(
        TracingConfig(
            service_name="worker",
            collector_url=environ["TEST_COLLECTOR"],
            collector_protocol="http",
            schedule_delay_s=float(environ.get("TEST_SCHEDULE_DELAY_S", "0.1")),
            spool_dir=environ.get("TEST_SPOOL"),
        )
    )
    if "TEST_PLAIN" not in environ:
        instrument_celery(app, **eval(environ.get("TEST_OPTIONS", "{}")))

if "TEST_REDIS" in environ:
    from obs_db import instrument_redis

    instrument_redis(**eval(environ["TEST_REDIS"]))

tracer = trace.get_tracer("tests")


def touch() -> None:
    """A span of the body."""
    with tracer.start_as_current_span("body"):
        pass


class Unpicklable(Exception):
    def __init__(self, lock: object) -> None:
        super().__init__("cannot travel")
        self.lock = lock


@app.task
def ok(value: object = 1) -> object:
    touch()
    return value


if "TEST_BATCHES" in environ:
    from celery_batches import Batches

    every = int(environ["TEST_BATCHES"])

    @app.task(base=Batches, flush_every=every, flush_interval=60)
    def collect(requests: list[object]) -> None:
        touch()

    @app.task(base=Batches, flush_every=every, flush_interval=60)
    def collect_fails(requests: list[object]) -> None:
        touch()
        raise ValueError("not these")

    @app.task
    def calls_a_batch() -> str:
        try:
            collect_fails([])
        except ValueError:
            return "caught"


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def total(values: list[int]) -> int:
    touch()
    return sum(values)


@app.task
def fails(message: str = "boom") -> None:
    raise ValueError(message)


@app.task(throws=(KeyError,))
def throws() -> None:
    raise KeyError("expected")


@app.task
def ignores() -> None:
    raise Ignore("not now")


@app.task(acks_late=True)
def rejects() -> None:
    raise Reject("bad message", requeue=False)


@app.task(acks_late=True, bind=True)
def requeues(self: Task) -> str:
    if not self.request.delivery_info["redelivered"]:
        raise Reject("again", requeue=True)
    return "second time"


@app.task(bind=True, max_retries=50)
def retries(
    self: Task, times: int = 2, fail: bool = False, countdown: float = 0
) -> int:
    touch()
    if self.request.retries < times:
        raise self.retry(countdown=countdown, exc=ValueError("not yet"))
    if fail:
        raise ValueError("never")
    return self.request.retries


@app.task(bind=True, max_retries=50)
def header_size(self: Task, times: int = 50) -> list[int]:
    size = len(
        repr(
            {
                key: value
                for key, value in self.request.headers.items()
                if not isinstance(value, float)
            }
        )
    )
    if self.request.retries < times:
        raise self.retry(countdown=0)
    return [size, self.request.retries]


@app.task
def exits() -> None:
    sys.exit(3)


@app.task(soft_time_limit=0.5)
def soft() -> None:
    time.sleep(30)


@app.task(time_limit=1)
def hard() -> None:
    touch()
    time.sleep(30)


@app.task(time_limit=1)
def unclean() -> None:
    touch()
    try:
        time.sleep(30)
    finally:
        raise RuntimeError("the cleanup fails as well")


@app.task(bind=True, retry_on_worker_lost=True, acks_late=True, default_retry_delay=0)
def killed_once(self: Task) -> None:
    touch()
    if self.request.retries == 0:
        os.kill(os.getpid(), signal.SIGKILL)


@app.task
def killed(after_s: float = 0.3) -> None:
    touch()
    time.sleep(after_s)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def sleeps(for_s: float = 30) -> None:
    touch()
    time.sleep(for_s)


@app.task
def asks_redis() -> object:
    touch()
    with redis.Redis.from_url(environ["TEST_BROKER"]) as client:
        return client.incr("obs-celery-tests")


@app.task
def knows_its_place() -> bool:
    return is_worker_process()


@app.task
def pid() -> int:
    return os.getpid()


@app.task(name="obs_celery_app.footprint")
def footprint_of_child() -> dict[str, int]:
    return footprint()


@inspect_command(name="footprint")
def footprint_of_main(state: object) -> dict[str, int]:
    return footprint()


@app.task(bind=True, max_retries=5)
def mends(self: Task) -> None:
    if self.request.retries == 0:
        with tracer.start_as_current_span("part") as span:
            span.set_status(trace.StatusCode.ERROR)
        raise self.retry(countdown=0)
    touch()


@app.task
def keeps() -> bool:
    return keep_trace()


@app.task
def publishes() -> str:
    return str(ok.delay().id)


@app.task
def baggage_of(key: str) -> str:
    return str(baggage.get_baggage(key))


@app.task(bind=True)
def replaces(self: Task, x: int) -> None:
    raise self.replace(add.s(x, x))


@app.task(bind=True)
def request_of(self: Task) -> dict[str, object]:
    return {
        k: v
        for k, v in (self.request.headers or {}).items()
        if isinstance(v, (str, int, float, dict))
    }


@app.task
def with_arguments(order_id: int, password: str = "hunter2", note: str = "n") -> None:
    touch()


@app.task
def returns_exception() -> Exception:
    return ValueError("only a value")


@app.task
def on_error(task_id: str) -> None:
    pass


@app.task
def naps(for_s: float) -> None:
    with tracer.start_as_current_span("nap"):
        time.sleep(for_s)


class Lingering(Task):
    """A task whose result is out before it is over."""

    def on_success(
        self, retval: object, task_id: str, args: object, kwargs: object
    ) -> None:
        time.sleep(0.5)


@app.task(base=Lingering)
def lingers() -> int:
    touch()
    return 1
