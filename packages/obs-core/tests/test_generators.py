"""Generators under spans, stepped from any thread, task or context."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from obs_core import trace_function
from obs_core.testing import SpanRecorder, record_spans
from opentelemetry import trace

from .test_calls import LIBRARY, OutOfStockError, describe, nothing_logged, of, tracer

__all__ = ["nothing_logged"]  # a fixture for each test here


def work(name: str) -> None:
    """A span of the consumer or of the body."""
    with tracer.start_as_current_span(name):
        pass


@trace_function(name="items")
def items(count: int = 3) -> Generator[int, Any, str]:
    """Open a span around each item, and one inside."""
    for item in range(count):
        work(f"before {item}")
        with tracer.start_as_current_span(f"around {item}"):
            yield item
            work(f"inside {item}")
    return "done"


@trace_function(name="items")
async def async_items(count: int = 3) -> AsyncIterator[int]:
    """Do the same, asynchronously."""
    for item in range(count):
        await asyncio.sleep(0)
        work(f"before {item}")
        with tracer.start_as_current_span(f"around {item}"):
            yield item
            await asyncio.sleep(0)
            work(f"inside {item}")


WHOLE = """
consumer [INTERNAL]
  items [INTERNAL] obs.items.count=2
    before 0 [INTERNAL]
    around 0 [INTERNAL]
      inside 0 [INTERNAL]
    before 1 [INTERNAL]
    around 1 [INTERNAL]
      inside 1 [INTERNAL]
  use 0 [INTERNAL]
  use 1 [INTERNAL]
"""


def _consume() -> None:
    with tracer.start_as_current_span("consumer"):
        for item in items(2):
            work(f"use {item}")


async def _consume_async() -> None:
    with tracer.start_as_current_span("consumer"):
        async for item in async_items(2):
            work(f"use {item}")


@pytest.mark.promise("CORE-41")
@pytest.mark.parametrize(
    "consume", [_consume, lambda: asyncio.run(_consume_async())], ids=["sync", "async"]
)
def test_a_generator_and_its_consumer_keep_apart(
    spans: SpanRecorder, consume: Callable[[], None]
) -> None:
    """The body's spans are the generator's children, the consumer's are not; the span lasts from first step to end."""
    consume()
    spans.assert_tree(WHOLE, attributes=["obs.items.count"])
    span, first, last = spans.one("items"), spans.one("before 0"), spans.one("inside 1")
    assert span.start_time is not None
    assert span.end_time is not None
    assert first.start_time is not None
    assert last.end_time is not None
    assert span.start_time < first.start_time
    assert span.end_time > last.end_time
    after = of(span)["obs.items.first_after"]
    assert 0 < after < (span.end_time - span.start_time) / 1e9


@pytest.mark.promise("CORE-41")
def test_interleaved_generators_keep_apart(spans: SpanRecorder) -> None:
    """Two generators stepped in turn are siblings, each with its own children."""
    with tracer.start_as_current_span("consumer"):
        for first, second in zip(items(1), items(1), strict=False):
            work(f"use {first} {second}")
    tree = spans.tree().splitlines()
    around = "    around 0 [INTERNAL]"
    assert tree[0] == "consumer [INTERNAL]"
    assert [line for line in tree if line.startswith("  items")] == [
        "  items [INTERNAL]"
    ] * 2
    assert "  use 0 0 [INTERNAL]" in tree
    assert tree.count(around) == 2


@pytest.mark.promise("CORE-41")
def test_an_early_break_ends_the_span_without_error(spans: SpanRecorder) -> None:
    """A consumer that stops early is no error; the count is what it took."""
    for item in items():
        if item == 1:
            break
    gc.collect()
    status, description, attributes, events = describe(spans.one("items"))
    assert attributes.pop("obs.items.first_after") > 0
    assert (status, description, attributes, events) == (
        "UNSET",
        None,
        {"obs.items.count": 2},
        [],
    )
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.promise("CORE-41")
def test_send_throw_and_return_reach_the_generator(spans: SpanRecorder) -> None:
    """send, throw, return values and close work as undecorated; what the body handles is no error."""

    @trace_function(name="talk")
    def talk() -> Generator[Any, Any, str]:
        heard = []
        while len(heard) < 3:
            try:
                heard.append((yield len(heard)))
            except OutOfStockError as error:
                heard.append(str(error))
                yield "caught"
        return ",".join(heard)

    conversation = talk()
    assert next(conversation) == 0
    assert conversation.send("a") == 1
    assert conversation.throw(OutOfStockError("b")) == "caught"
    assert next(conversation) == 2
    with pytest.raises(StopIteration) as stop:
        conversation.send("c")
    assert stop.value.value == "a,b,c"
    assert spans.one("talk").status.is_unset
    assert of(spans.one("talk"))["obs.items.count"] == 4


@pytest.mark.promise("CORE-41")
def test_an_error_thrown_in_and_not_handled_is_an_error(spans: SpanRecorder) -> None:
    """`throw` that comes out again is recorded once."""
    stepped = items()
    next(stepped)
    with pytest.raises(OutOfStockError):
        stepped.throw(OutOfStockError("in"))
    assert spans.one("items").status.description == "in"
    assert len(spans.one("items").events) == 1


@pytest.mark.promise("CORE-41")
@pytest.mark.parametrize("sampled", [1.0, 0.0])
def test_close_behaves_as_undecorated(sampled: float) -> None:
    """close() returns what a generator's close returns, and raises where the body yields again."""

    def closing(mode: str) -> Generator[int, None, str]:
        try:
            yield 1
        except GeneratorExit:
            if mode == "raise":
                raise OutOfStockError from None
            if mode == "yield":
                yield 2
            if mode == "exit":
                raise
        return "closed"

    def outcome(make: Callable[[str], Generator[int, None, str]], mode: str) -> object:
        stepped = make(mode)
        next(stepped)
        try:
            return stepped.close()
        except BaseException as error:
            return repr(error)

    with record_spans(sampling_rate=sampled):
        traced = trace_function(closing)
        for mode in ("return", "raise", "yield", "exit"):
            assert outcome(traced, mode) == outcome(closing, mode), mode


@pytest.mark.promise("CORE-41")
def test_steps_on_different_threads(spans: SpanRecorder) -> None:
    """Each step may be taken by another thread, as a web server does; parents are right and nothing is leaked."""
    with tracer.start_as_current_span("consumer"):
        stepped = items(2)
        next(stepped)
    left: list[object] = []

    def step() -> None:
        with suppress(StopIteration):
            next(stepped)
        left.append(trace.get_current_span())

    for _ in range(2):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join(10)
    assert left == [trace.INVALID_SPAN] * 2
    spans.assert_tree(
        WHOLE.replace("  use 0 [INTERNAL]\n", "").replace("  use 1 [INTERNAL]\n", ""),
        attributes=["obs.items.count"],
    )


@pytest.mark.promise("CORE-41")
def test_aclose_from_another_task(spans: SpanRecorder) -> None:
    """A task that did not start the generator may close it."""

    async def main() -> None:
        stepped = async_items()
        await asyncio.create_task(stepped.__anext__())  # type: ignore[arg-type]
        await asyncio.create_task(stepped.aclose())  # type: ignore[attr-defined]
        assert trace.get_current_span() is trace.INVALID_SPAN

    asyncio.run(main())
    assert spans.one("items").status.is_unset
    assert of(spans.one("items"))["obs.items.count"] == 1
    assert spans.one("around 0").parent == spans.one("items").context


@pytest.mark.promise("CORE-41")
def test_asend_and_athrow_reach_the_generator(spans: SpanRecorder) -> None:
    """The two-way protocol of async generators works as undecorated."""

    @trace_function(name="talk")
    async def talk() -> Any:
        try:
            heard = yield "ready"
            await asyncio.sleep(0)
            yield heard
        except OutOfStockError as error:
            await asyncio.sleep(0)
            yield f"caught {error}"

    async def main() -> None:
        conversation = talk()
        assert await conversation.asend(None) == "ready"
        assert await conversation.asend("x") == "x"
        assert await conversation.athrow(OutOfStockError("y")) == "caught y"
        with pytest.raises(StopAsyncIteration):
            await conversation.asend(None)
        with pytest.raises(StopAsyncIteration):
            await conversation.asend(None)

    asyncio.run(main())
    assert spans.one("talk").status.is_unset
    assert of(spans.one("talk"))["obs.items.count"] == 3


@pytest.mark.promise("CORE-41", "CORE-42")
def test_a_cancelled_async_generator(spans: SpanRecorder) -> None:
    """Cancelling the consumer inside a step marks the span cancelled, no error, and the body's cleanup runs in its span."""

    @trace_function(name="slow")
    async def slow() -> AsyncIterator[int]:
        yield 0
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            work("cleanup")

    async def main() -> None:
        async def consume() -> None:
            async for _ in slow():
                started.set()

        started = asyncio.Event()
        task = asyncio.create_task(consume())
        await started.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    status, _, attributes, events = describe(spans.one("slow"))
    assert (
        status,
        attributes["obs.cancelled"],
        attributes["obs.items.count"],
        events,
    ) == (
        "UNSET",
        True,
        1,
        [],
    )
    spans.assert_tree("\nslow [INTERNAL]\n  cleanup [INTERNAL]")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is of 3.11")
@pytest.mark.promise("CORE-41")
def test_timeouts_around_and_inside_async_generators(spans: SpanRecorder) -> None:
    """`asyncio.timeout` works on either side of a step."""

    @trace_function(name="inside")
    async def inside() -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        except TimeoutError:
            yield "timed out"

    @trace_function(name="outside")
    async def outside() -> AsyncIterator[str]:
        await asyncio.sleep(60)
        yield "never"

    async def main() -> None:
        assert [item async for item in inside()] == ["timed out"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                [item async for item in outside()]

    asyncio.run(main())
    assert spans.one("inside").status.is_unset
    assert of(spans.one("outside"))["obs.cancelled"] is True


@pytest.mark.promise("CORE-41")
@pytest.mark.parametrize("sampled", [1.0, 0.0])
def test_abandoned_async_generators_are_closed_once(sampled: float) -> None:
    """Left half-consumed, an async generator with an awaiting cleanup is closed by the event loop, once, without complaint."""
    closed: list[str] = []

    @trace_function(name="left")
    async def left(name: str) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0.01)
            closed.append(name)
            done.set()

    async def main() -> list[object]:
        kept = [left("at shutdown") for _ in range(10)]
        for each in kept:
            await each.__anext__()
        async for _ in left("by the collector"):
            break
        gc.collect()
        await asyncio.wait_for(done.wait(), 10)
        return list(kept)

    done = asyncio.Event()
    with record_spans(sampling_rate=sampled) as spans:
        kept = asyncio.run(main())
        assert sorted(closed) == ["at shutdown"] * 10 + ["by the collector"]
        assert [span.status.is_unset for span in spans.named("left")] == [True] * (
            11 if sampled else 0
        )
    assert kept


@pytest.mark.promise("CORE-41")
def test_a_collected_generator_leaks_nothing(spans: SpanRecorder) -> None:
    """Half-consumed generators collected in another thread end their spans and leave its context alone."""
    stepped = [items() for _ in range(3)]
    for generator in stepped:
        next(generator)
    del generator

    def collect() -> None:
        with tracer.start_as_current_span("other"):
            stepped.clear()
            gc.collect()
            work("later")

    thread = threading.Thread(target=collect)
    thread.start()
    thread.join(10)
    assert [of(span)["obs.items.count"] for span in spans.named("items")] == [1, 1, 1]
    assert spans.one("later").parent == spans.one("other").context


@pytest.mark.promise("CORE-41")
def test_recursive_generators(spans: SpanRecorder) -> None:
    """A generator that runs itself has one span a level, each below the one that asked."""

    @trace_function(name="walk")
    def walk(depth: int) -> Iterator[int]:
        if depth:
            yield from walk(depth - 1)
        yield depth

    assert list(walk(2)) == [0, 1, 2]
    spans.assert_tree("\nwalk [INTERNAL]\n  walk [INTERNAL]\n    walk [INTERNAL]")


@pytest.mark.promise("CORE-41")
@pytest.mark.parametrize("sampled", [1.0, 0.0])
def test_variables_of_other_libraries_pass_both_ways(sampled: float) -> None:
    """A context variable that the body sets reaches the consumer, and back, as undecorated, sampled or not."""

    @contextmanager
    @trace_function
    def scope(name: str) -> Iterator[None]:
        token = LIBRARY.set(name)
        try:
            yield
        finally:
            seen.append(LIBRARY.get())
            LIBRARY.reset(token)

    @trace_function
    def listen() -> Iterator[str | None]:
        while True:
            yield LIBRARY.get(None)

    seen: list[str] = []
    with record_spans(sampling_rate=sampled):
        with scope("outer"):
            assert LIBRARY.get() == "outer"
            with scope("inner"):
                assert LIBRARY.get() == "inner"
            assert LIBRARY.get() == "outer"
        assert LIBRARY.get(None) is None
        assert seen == ["inner", "outer"]
        listening = listen()
        assert next(listening) is None
        token = LIBRARY.set("heard")
        assert next(listening) == "heard"
        LIBRARY.reset(token)
        assert next(listening) is None
        listening.close()


@pytest.mark.promise("CORE-41")
def test_variables_of_other_libraries_pass_both_ways_async() -> None:
    """The same for async generators, across suspensions."""

    @trace_function
    async def scope() -> AsyncIterator[None]:
        await asyncio.sleep(0)
        token = LIBRARY.set("set")
        await asyncio.sleep(0)
        yield
        LIBRARY.reset(token)
        await asyncio.sleep(0)

    async def main() -> None:
        stepped = scope()
        await stepped.__anext__()
        assert LIBRARY.get() == "set"
        with pytest.raises(StopAsyncIteration):
            await stepped.__anext__()
        assert LIBRARY.get(None) is None

    with record_spans():
        asyncio.run(main())
