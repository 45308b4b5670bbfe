"""Store: bounded by count and age, safe to use from many threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from obs_view._store import Store
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)


def batch(trace: int, *spans: int, name: str = "work") -> ExportTraceServiceRequest:
    """A request with `spans` of `trace`."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    added = group.scope_spans.add().spans
    for number in spans:
        added.add(
            trace_id=trace.to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            name=name,
            start_time_unix_nano=number,
        )
    return request


def ids(store: Store) -> list[int]:
    """The traces in the store."""
    return sorted(int(trace.trace_id, 16) for trace in store.traces())


@pytest.mark.promise("VIEW-05")
def test_the_trace_that_was_quiet_longest_goes_first() -> None:
    """Beyond `max_spans` whole traces go, those with the oldest last span first."""
    store = Store(max_spans=4)
    for trace, numbers in ((1, (1, 2)), (2, (1,)), (1, (3,)), (3, (1,))):
        store.add(batch(trace, *numbers))
    assert (ids(store), store.count, store.evicted) == ([1, 3], 4, 1)


@pytest.mark.promise("VIEW-05")
def test_one_trace_larger_than_the_store_keeps_its_newest_spans() -> None:
    """A runaway trace cannot fill the memory."""
    store = Store(max_spans=100)
    for start in range(1, 1000, 50):
        store.add(batch(1, *range(start, start + 50)))
    (trace,) = store.traces()
    assert (
        len(trace.spans),
        trace.spans[-1].start_time,
        store.count,
        store.evicted,
    ) == (
        100,
        1000,
        100,
        900,
    )


@pytest.mark.promise("VIEW-05")
def test_old_traces_go() -> None:
    """What had nothing new for `max_age_s` is gone, also when nothing comes any more."""
    store = Store(max_age_s=0.05)
    store.add(batch(1, 1))
    assert not store.wait(lambda: False, 0.1)
    assert (store.traces(), store.count) == ([], 0)


def test_a_span_that_is_sent_again_is_there_once() -> None:
    """An exporter that repeats a batch, whose answer it missed, doubles nothing; the last one counts."""
    store = Store()
    store.add(batch(1, 1, 2))
    store.add(batch(1, 1, name="again"))
    (trace,) = store.traces()
    assert [span.name for span in trace.spans] == ["again", "work"]
    assert store.count == 2


def test_resources_are_kept_once() -> None:
    """A thousand batches of one service share one resource, which goes with the last of its spans."""
    store = Store()
    for number in range(1, 1001):
        store.add(batch(number, 1))
    assert len(store._origins) == 1
    store.clear()
    assert len(store._origins) == 0


def test_many_threads() -> None:
    """Four writers, with a reader and a waiter between them, lose nothing."""
    store, done = Store(), threading.Event()

    def write(worker: int) -> None:
        for number in range(1, 201):
            store.add(batch(1 + number % 7, 1000 * worker + number))

    def read() -> None:
        while not done.is_set():
            for trace in store.traces():
                assert trace.rows

    with ThreadPoolExecutor(6) as pool:
        reader, waiter = (
            pool.submit(read),
            pool.submit(store.wait, lambda: store.count >= 800, 30),
        )
        for writer in [pool.submit(write, worker) for worker in range(1, 5)]:
            writer.result()
        done.set()
        reader.result()
        assert waiter.result()
    assert store.count == sum(len(trace.spans) for trace in store.traces()) == 800
