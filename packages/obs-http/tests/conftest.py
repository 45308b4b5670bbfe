"""A real server for each test that wants one: uvicorn on a free loopback port, in a thread of this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import uvicorn
from obs_http import uninstrument_httpx, uninstrument_requests
from opentelemetry import propagate
from opentelemetry.propagators.textmap import TextMapPropagator

from .meter import Meter

TIMEOUT_S = 30.0


@contextmanager
def running(app: Any) -> Iterator[str]:
    """Serve `app`, lifespan included; yield its base URL."""
    server = uvicorn.Server(
        uvicorn.Config(
            app, host="127.0.0.1", port=0, log_level="critical", lifespan="auto"
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + TIMEOUT_S
    while not server.started:
        assert thread.is_alive(), "uvicorn has stopped before it started"
        assert time.monotonic() < deadline, "uvicorn does not start"
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(TIMEOUT_S)


@pytest.fixture
def meter() -> Iterator[Meter]:
    """A MeterProvider of the test's own; the clients that measure on it are let go at the end."""
    made = Meter()
    yield made
    uninstrument_httpx()
    uninstrument_requests()
    made.provider.shutdown()


class BrokenPropagator(TextMapPropagator):
    """Raises at both ends of a call."""

    fields = frozenset({"traceparent"})

    def inject(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("inject")

    def extract(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("extract")


@pytest.fixture
def break_propagator() -> Iterator[Callable[[], None]]:
    """A function that replaces the global propagator by one that raises, until the end of the test."""
    before = propagate.get_global_textmap()
    yield lambda: propagate.set_global_textmap(BrokenPropagator())
    propagate.set_global_textmap(before)


@pytest.fixture
def serve() -> Iterator[Callable[[Any], str]]:
    """A function that serves an application until the end of the test, and returns its base URL."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(running(app))
