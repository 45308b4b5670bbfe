"""Send mixed tasks through a real worker; print what publisher, worker and child hold after each quarter, and how much more.

    PYTHONPATH=. python packages/obs-celery/tests/obs_celery_load.py [how many, 10,000] [pool] [plain]

from the root of the repository. A fifth is sent beforehand, to warm up. With ``plain`` Celery is not instrumented: what grows
then is Celery's own.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kombu.exceptions import EncodeError
from obs_celery import instrument_celery, uninstrument_celery
from obs_celery_worker import Worker, footprint, root, running_worker
from obs_core import TracingConfig, setup_tracing
from obs_core.testing import OtlpSink, wait_until

from tests.services import embedded_redis

Footprints = dict[str, dict[str, int]]


def send(worker: Worker, times: int) -> None:
    """Tasks that end well, fail, are tried again, are revoked before they start, come too late; publishes that fail."""
    revoked = [str(uuid.uuid4()) for _ in range(times // 6 + 1)]
    worker.app.control.revoke(revoked)
    for index in range(times):
        with root():
            send_one(worker, index, revoked)
        if index % 100 == 99:
            wait_for_all(worker)


def send_one(worker: Worker, index: int, revoked: list[str]) -> None:
    """Send the task that is due at `index`."""
    kind = index % 6
    if kind == 3:
        worker.send("ok", task_id=revoked.pop(), ignore_result=True)
    elif kind == 4:
        worker.send("ok", expires=-1, ignore_result=True)
    elif kind == 5:
        fail_to_send(worker)
    else:
        worker.send(
            ("ok", "fails", "retries")[kind],
            *(((), ("boom",), (1,))[kind]),
            ignore_result=True,
        )


def fail_to_send(worker: Worker) -> None:
    """Arguments that no serializer takes."""
    try:
        worker.send("ok", object(), ignore_result=True)
    except EncodeError:
        return
    raise AssertionError("the publish was to fail")


class Discarding(BaseHTTPRequestHandler):
    """A collector that keeps nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def collector() -> Iterator[str]:
    """Run one; yield its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Discarding)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
    server.shutdown()
    server.server_close()


def wait_for_all(worker: Worker) -> None:
    """Wait until the queue is empty and nothing runs."""
    with worker.app.connection_for_read() as connection:
        queue = connection.default_channel.client
        wait_until(lambda: queue.llen(worker.queue) == 0, 600)


def footprints(worker: Worker) -> Footprints:
    """What each of the three processes holds once nothing is being done."""
    wait_for_all(worker)
    child = worker.send("footprint").get(timeout=60)
    reply = worker.app.control.inspect([worker.hostname], timeout=30)._request(
        "footprint"
    )
    return {"publisher": footprint(), "worker": reply[worker.hostname], "child": child}


def held(
    times: int, pool: str = "prefork", plain: str = ""
) -> Iterator[tuple[int, Footprints]]:
    """Yield how many of `times` tasks have been sent, and the footprints then: after none, and after each quarter."""
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_redis() as redis,
        collector() as url,
    ):
        setup_tracing(
            TracingConfig(
                service_name="publisher", collector_url=url, collector_protocol="http"
            )
        )
        if not plain:
            instrument_celery()
        env = {
            "CELERY_WORKER_REVOKES_MAX": "50",
            "TEST_COLLECTOR": url,
            **({"TEST_PLAIN": "1"} if plain else {}),
        }
        with running_worker(
            OtlpSink(), redis, redis, Path(folder), pool=pool, concurrency=1, **env
        ) as worker:
            send(worker, max(times // 5, 60))
            yield 0, footprints(worker)
            for quarter in range(1, 5):
                send(worker, times // 4)
                yield times // 4 * quarter, footprints(worker)
        uninstrument_celery()


if __name__ == "__main__":
    (_, before), *later = held(
        int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, *sys.argv[2:4]
    )
    for sent, after in later:
        for process, now in after.items():
            grown = (
                f"{key} {value:,} {value - before[process][key]:+,}"
                for key, value in now.items()
            )
            print(sent, process, *grown)
