"""Follower: when a trace is finished."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from obs_view._follow import Finished, Follower
from obs_view._store import Store

from .test_store import batch


@contextmanager
def following(
    store: Store, quiet_s: float, incomplete_quiet_s: float
) -> Iterator[list[tuple[float, Finished]]]:
    """Follow `store` in a thread; the list holds what was finished, and when."""
    seen: list[tuple[float, Finished]] = []
    stop = threading.Event()

    def run() -> None:
        for finished in Follower(store, quiet_s, incomplete_quiet_s).follow(stop):
            seen.append((time.monotonic(), finished))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def until(seen: list[tuple[float, Finished]], count: int) -> None:
    """Wait for `count` traces."""
    deadline = time.monotonic() + 20
    while len(seen) < count:
        assert time.monotonic() < deadline, seen
        time.sleep(0.01)


@pytest.mark.promise("VIEW-02")
def test_a_whole_trace_is_finished_after_a_quiet_time() -> None:
    """It is yielded once, not before the quiet time has passed since its last span."""
    store = Store()
    with following(store, 0.3, 60) as seen:
        store.add(batch(1, 1))
        store.add(batch(1, 2))
        last = time.monotonic()
        until(seen, 1)
    (when, finished) = seen[0]
    assert (len(seen), len(finished.trace.spans), finished.before) == (1, 2, 0)
    assert when - last >= 0.3


@pytest.mark.promise("VIEW-02")
def test_a_trace_with_a_missing_parent_is_waited_for_longer() -> None:
    """Another service's batch is still to come; when it does not, the trace is shown as it is."""
    store = Store()
    orphan = batch(1, 1)
    orphan.resource_spans[0].scope_spans[0].spans[0].parent_span_id = b"p" * 8
    with following(store, 0.05, 0.6) as seen:
        store.add(orphan)
        store.add(batch(2, 1))
        last = time.monotonic()
        until(seen, 2)
    assert [int(finished.trace.trace_id, 16) for _, finished in seen] == [2, 1]
    assert seen[1][0] - last >= 0.6


@pytest.mark.promise("VIEW-02")
def test_late_spans_finish_a_trace_again() -> None:
    """The span of a task that was tried again later shows the whole trace once more."""
    store = Store()
    with following(store, 0.05, 0.5) as seen:
        store.add(batch(1, 1))
        until(seen, 1)
        store.add(batch(1, 2, 3))
        until(seen, 2)
    assert [(len(finished.trace.spans), finished.before) for _, finished in seen] == [
        (1, 0),
        (3, 1),
    ]


@pytest.mark.promise("VIEW-02")
def test_a_growing_trace_is_yielded_again_when_it_is_done() -> None:
    """A batch job's spans, which come one by one over its whole run, do not each print the trace once more."""
    store = Store()
    with following(store, 0.02, 0.6) as seen:
        store.add(batch(1, 1))
        until(seen, 1)
        for number in range(2, 12):
            store.add(batch(1, number))
            assert not store.wait(lambda: False, 0.06)
        until(seen, 2)
    assert [(len(finished.trace.spans), finished.before) for _, finished in seen] == [
        (1, 0),
        (11, 1),
    ]


@pytest.mark.promise("VIEW-02")
def test_stopping_yields_what_is_left() -> None:
    """Ctrl-C right after the last request still shows its trace."""
    store = Store()
    with following(store, 60, 60) as seen:
        store.add(batch(1, 1))
        store.add(batch(2, 1))
    assert [int(finished.trace.trace_id, 16) for _, finished in seen] == [1, 2]
