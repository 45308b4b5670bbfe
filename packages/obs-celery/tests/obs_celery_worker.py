"""Real workers, and the whole story of a trace: what this process recorded and what the worker sent."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
from celery import Celery
from celery.backends.asynchronous import AsyncBackendMixin
from celery.backends.redis import RedisBackend
from celery.canvas import Signature
from obs_core.integration import current_manager
from obs_core.testing import OtlpSink, SinkSpan, SpanRecorder, render_tree, wait_until
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

HERE = Path(__file__).parent
MODULE = "obs_celery_app"

StartWorker = Callable[..., AbstractContextManager["Worker"]]

# A result unsubscribes where the garbage collector finds it: when the backend is gone, or inside another one's subscription,
# which then never ends (https://github.com/celery/celery/issues/10477). Here as in the workers, which import this too.
AsyncBackendMixin.on_result_fulfilled = lambda self, result: None


class Worker:
    """A ``celery worker`` process on a queue of its own, the spans it sends, and an app to send it tasks with."""

    def __init__(
        self,
        sink: OtlpSink,
        env: dict[str, str],
        pool: str,
        concurrency: int,
        arguments: tuple[str, ...],
    ) -> None:
        self.sink = sink
        self.queue = env["TEST_QUEUE"]
        self.hostname = f"{self.queue}@test"
        self.app = client(env)
        self.log = Path(env["TEST_LOG"])
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            MODULE,
            "worker",
            "--pool",
            pool,
            "-c",
            str(concurrency),
        ]
        command += [
            "-n",
            self.hostname,
            "-l",
            "INFO",
            "--without-mingle",
            "--without-gossip",
            *arguments,
        ]
        environ = {**os.environ, "PYTHONPATH": str(HERE), **env}
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=HERE, env=environ, stdout=output, stderr=output
            )
        self._wait_ready()

    def _wait_ready(self, timeout_s: float = 60) -> None:
        wait_until(self._is_ready, timeout_s, message=self.log.read_text)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, (
            f"the worker has ended:\n{self.log.read_text()}"
        )
        return " ready." in self.log.read_text()

    def signature(self, name: str, *args: object, **kwargs: object) -> Signature:
        """A signature of one of the app's tasks."""
        return self.app.signature(f"{MODULE}.{name}", args=args, kwargs=kwargs)

    def send(self, name: str, *args: object, **options: Any) -> Any:
        """Send one of the app's tasks."""
        return self.app.send_task(f"{MODULE}.{name}", args=args, **options)

    def wait_idle(self, timeout_s: float = 30) -> None:
        """Wait until no task is active: a result is out before its task is over."""
        inspect = self.app.control.inspect(destination=[self.hostname], timeout=5)
        wait_until(lambda: inspect.active() == {self.hostname: []}, timeout_s)

    def stop(self, signum: int = signal.SIGTERM, timeout_s: float = 40) -> None:
        """Send `signum` and wait for the end."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise AssertionError(
                    f"the worker did not stop:\n{self.log.read_text()}"
                ) from None
        # Celery leaves these to the garbage collector, which may come upon a socket first, and warns of it in any test
        if isinstance(self.app.backend, RedisBackend):
            self.app.backend.client.connection_pool.disconnect()
        self.app.close()

    def spans(
        self,
        trace_id: int,
        enough: int | Callable[[list[SinkSpan]], bool],
        timeout_s: float = 40,
    ) -> list[SinkSpan]:
        """Wait for the worker's spans of one trace; return them by start."""

        def of_trace(spans: list[SinkSpan]) -> list[SinkSpan]:
            return [span for span in spans if span.trace_id == trace_id]

        satisfied = enough if callable(enough) else lambda spans: len(spans) >= enough
        try:
            self.sink.wait_for(lambda spans: satisfied(of_trace(spans)), timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()[-8000:]}") from None
        return sorted(of_trace(self.sink.spans), key=lambda span: span.start_time)


@contextmanager
def running_worker(
    sink: OtlpSink,
    broker: str,
    backend: str,
    folder: Path,
    *arguments: str,
    pool: str = "prefork",
    concurrency: int = 2,
    **env: str,
) -> Iterator[Worker]:
    """Run a worker until the end of the block."""
    queue = f"q{uuid.uuid4().hex[:10]}"
    settings = {
        "TEST_BROKER": broker,
        "TEST_BACKEND": backend,
        "TEST_QUEUE": queue,
        "TEST_COLLECTOR": sink.url,
    }
    worker = Worker(
        sink,
        {**settings, "TEST_LOG": str(folder / f"{queue}.log"), **env},
        pool,
        concurrency,
        arguments,
    )
    try:
        yield worker
    finally:
        worker.stop(signal.SIGKILL)


def client(env: dict[str, str]) -> Celery:
    """Return an app that sends to the worker of `env`, without its tasks."""
    app = Celery(
        "client",
        broker=env["TEST_BROKER"],
        backend=env.get("TEST_BACKEND") or None,
        set_as_current=False,
    )
    app.conf.update(
        task_default_queue=env["TEST_QUEUE"],
        task_protocol=int(env.get("TEST_PROTOCOL", "2")),
        task_publish_retry=False,
    )
    if "TEST_FOLDER" in env:
        app.conf.broker_transport_options = folder_options(env["TEST_FOLDER"])
    return app


def delete_queue(worker: Worker) -> None:
    """Delete the worker's queue from a broker that keeps it."""
    with worker.app.connection_for_write() as connection:
        worker.app.amqp.queues[worker.queue](connection.default_channel).delete()


def folder_options(folder: str) -> dict[str, str]:
    """Transport options of kombu's filesystem transport."""
    return {
        "data_folder_in": f"{folder}/q",
        "data_folder_out": f"{folder}/q",
        "control_folder": f"{folder}/control",
    }


def start_sentry(path: str) -> None:
    """Switch sentry_sdk's Celery integration on; each transaction that it sends is a line of the file `path`."""
    import sentry_sdk
    from sentry_sdk.integrations.celery import CeleryIntegration
    from sentry_sdk.transport import Transport

    class ToFile(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            event = envelope.get_transaction_event() or {}
            with Path(path).open("a") as file:
                file.write(f"{event.get('transaction')}\n")

    sentry_sdk.init(
        "http://key@127.0.0.1:9/1",
        transport=ToFile,
        traces_sample_rate=1.0,
        integrations=[CeleryIntegration()],
        default_integrations=False,
    )


def footprint() -> dict[str, int]:
    """What this process holds once all is exported: objects that the collector tracks, ours and requests among them, bytes."""
    manager = current_manager()
    assert manager is not None
    assert manager.flush(30)
    gc.collect()
    objects = gc.get_objects()
    ours = (
        "obs_celery.",
        "obs_core.",
        "opentelemetry.",
        "celery.worker.request",
        "celery.app.task",
    )
    own = sum(str(type(item).__module__).startswith(ours) for item in objects)
    return {
        "objects": len(objects),
        "own": own,
        "rss": psutil.Process().memory_info().rss,
    }


@contextmanager
def root() -> Iterator[int]:
    """Run the block under a span named root; yield its trace id."""
    with trace.get_tracer("tests").start_as_current_span("root") as span:
        yield span.get_span_context().trace_id


def as_sink_span(span: ReadableSpan) -> SinkSpan:
    """A span of this process in the shape of a received one."""
    return SinkSpan(
        name=span.name,
        service="client",
        kind=span.kind.name,
        status=span.status.status_code.name,
        description=span.status.description or "",
        trace_id=span.context.trace_id,
        span_id=span.context.span_id,
        parent_id=span.parent.span_id if span.parent else 0,
        start_time=span.start_time or 0,
        end_time=span.end_time or 0,
        attributes=dict(span.attributes or {}),
        resource={},
        events=tuple(
            (event.name, dict(event.attributes or {})) for event in span.events
        ),
        links=tuple(
            (link.context.trace_id, link.context.span_id) for link in span.links
        ),
    )


def story(recorder: SpanRecorder, received: list[SinkSpan], *attributes: str) -> str:
    """Render both sides of a trace as one tree, without the module's name."""
    mine = [as_sink_span(span) for span in recorder.finished]
    return render_tree([*mine, *received], attributes=attributes).replace(
        f"{MODULE}.", ""
    )
