"""What a publish and an execution cost beside contrib's, in function calls: a count that no busy machine changes.

Times are measured by ``benchmarks/celery_overhead.py``; these bounds keep them from growing unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from celery import Celery
from celery.app.trace import build_tracer
from obs_celery import instrument_celery
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider

from tests.call_counts import (
    function_calls,
    need_newest_contrib,
    our_provider,
    sdk_provider,
)

NAME = "cost.work"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"
Operation = Callable[[], Any]


@contextmanager
def contrib(provider: TracerProvider) -> Iterator[None]:
    CeleryInstrumentor().instrument(tracer_provider=provider)
    yield
    CeleryInstrumentor().uninstrument()


@contextmanager
def ours(provider: TracerProvider) -> Iterator[None]:
    handle = instrument_celery(tracer_provider=provider)
    yield
    handle.uninstrument()


class Nowhere:
    """A producer that sends nothing: the broker is left out."""

    def __init__(self, app: Celery) -> None:
        self.connection = app.connection_for_write()

    def __enter__(self) -> Nowhere:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def publish(self, *_: object, **__: object) -> None:
        pass


def make_app() -> Celery:
    app = Celery("cost", broker="memory://localhost", set_as_current=False)
    app.conf.task_ignore_result = True

    @app.task(shared=False, name=NAME)
    def work() -> None:
        pass

    app.finalize()
    return app


def publish(app: Celery, is_sampled: bool) -> Operation:
    producer = Nowhere(app)
    return lambda: app.send_task(NAME, producer=producer)


def execute(app: Celery, is_sampled: bool) -> Operation:
    message = app.amqp.create_task_message("an-id", NAME, root_id="r", parent_id="p")
    request = {
        **message.headers,
        "traceparent": f"{TRACEPARENT}{int(is_sampled)}",
        "delivery_info": {"exchange": "", "routing_key": "celery"},
        "args": (),
        "kwargs": {},
        "is_eager": False,
        "hostname": "worker@host",
    }
    # built while the signals have receivers, or else it calls none
    run = build_tracer(NAME, app.tasks[NAME], app=app)
    return lambda: run("an-id", (), {}, dict(request))


@pytest.mark.promise("CEL-44")
@pytest.mark.parametrize(
    ("operation", "is_sampled", "bound"),
    [
        (publish, True, 0.45),
        (publish, False, 0.4),
        (execute, True, 0.5),
        (execute, False, 0.45),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_calls_beside_contribs(
    operation: Callable[[Celery, bool], Operation], is_sampled: bool, bound: float
) -> None:
    """Half of contrib's, as a service has both: contrib on the SDK's provider, ours on ours.

    Of what is left below an unsampled producer, a third is Celery's own: its signals have a receiver.
    """
    need_newest_contrib()
    app, rate, counts = make_app(), float(is_sampled), []
    for instrumented, provider in (
        (contrib, sdk_provider(rate)),
        (ours, our_provider(rate)),
        (lambda _: nullcontext(), sdk_provider(rate)),
    ):
        with instrumented(provider):
            run = operation(app, is_sampled)
            counts.append(function_calls(run, provider, below=operation is publish))
    theirs, mine, bare = counts
    assert 0 < mine - bare <= bound * (theirs - bare)
