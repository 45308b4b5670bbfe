"""Calls under spans: errors, contexts, sampling."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from obs_core import trace_function
from obs_core.testing import OtlpSink, SpanRecorder, record_spans
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

tracer = trace.get_tracer("test")
LIBRARY: contextvars.ContextVar[str] = contextvars.ContextVar("LIBRARY")


@pytest.fixture(autouse=True)
def nothing_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test here may log anything at all: "Failed to detach context", a contained failure, asyncio's complaints."""
    with caplog.at_level(logging.WARNING):
        yield
    assert [record.getMessage() for record in caplog.get_records("call")] == []


class OutOfStockError(Exception):
    """An error of the application."""


def of(span: ReadableSpan) -> dict[str, Any]:
    """The attributes that say how the call went."""
    return {
        key: value
        for key, value in (span.attributes or {}).items()
        if not key.startswith("code.")
    }


def describe(span: ReadableSpan) -> tuple[str, str | None, dict[str, Any], list[str]]:
    """Status, its description, attributes, events."""
    return (
        span.status.status_code.name,
        span.status.description,
        of(span),
        [event.name for event in span.events],
    )


OK: tuple[str, None, dict[str, Any], list[str]] = ("UNSET", None, {}, [])


def _raising(kind: str, error: BaseException, **options: Any) -> Callable[[], None]:
    """A decorated callable of `kind` that raises `error` when it is run."""

    @trace_function(name="call", **options)
    def call() -> None:
        raise error

    @trace_function(name="call", **options)
    async def coroutine() -> None:
        await asyncio.sleep(0)
        raise error

    @trace_function(name="call", **options)
    def generator() -> Iterator[int]:
        raise error
        yield 1

    @trace_function(name="call", **options)
    async def async_generator() -> AsyncIterator[int]:
        await asyncio.sleep(0)
        raise error
        yield 1

    def run_coroutine(coroutine: Any) -> None:
        # driven by hand: asyncio treats SystemExit and KeyboardInterrupt in a way of its own
        with suppress(StopIteration):
            while True:
                coroutine.send(None)

    return {
        "call": call,
        "coroutine": lambda: run_coroutine(coroutine()),
        "generator": lambda: list(generator()),  # type: ignore[dict-item]
        "async_generator": lambda: run_coroutine(async_generator().__anext__()),
    }[kind]


KINDS = ["call", "coroutine", "generator", "async_generator"]


@pytest.mark.promise("CORE-42")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("error", "kind_name", "message"),
    [
        (OutOfStockError("no pears"), f"{__name__}.OutOfStockError", "no pears"),
        (KeyError("pears"), "KeyError", "'pears'"),
        (KeyboardInterrupt(), "KeyboardInterrupt", ""),
        (SystemExit(3), "SystemExit", "3"),
    ],
)
def test_an_error_is_recorded_once(
    spans: SpanRecorder, kind: str, error: BaseException, kind_name: str, message: str
) -> None:
    """One event, the qualified type, the message alone as description; the span ends whatever is raised."""
    with pytest.raises(type(error)) as caught:
        _raising(kind, error)()
    assert caught.value is error
    span = spans.one("call")
    told = {**of(span), "obs.items.count": 0} if "generator" in kind else of(span)
    assert told == of(span)
    told.pop("obs.items.count", None)
    assert (span.status.status_code.name, span.status.description or "") == (
        "ERROR",
        message,
    )
    assert told == {"error.type": kind_name}
    (event,) = span.events
    assert event.name == "exception"
    assert event.attributes is not None
    assert set(event.attributes) == {
        "exception.type",
        "exception.message",
        "exception.stacktrace",
    }
    assert (
        event.attributes["exception.type"],
        event.attributes["exception.message"],
    ) == (
        kind_name,
        message,
    )


@pytest.mark.promise("CORE-42")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("error", "mark"),
    [
        (OutOfStockError("expected"), {}),
        (asyncio.CancelledError(), {"obs.cancelled": True}),
        (SystemExit(0), {}),
        (SystemExit(), {}),
        (GeneratorExit(), {}),
    ],
)
def test_what_is_no_error_leaves_none(
    spans: SpanRecorder, kind: str, error: BaseException, mark: dict[str, Any]
) -> None:
    """Expected exceptions, a cancellation, a clean exit and a close are not errors."""
    with pytest.raises(type(error)):
        _raising(kind, error, expected=OutOfStockError)()
    status, description, attributes, events = describe(spans.one("call"))
    attributes.pop("obs.items.count", None)
    assert (status, description, attributes, events) == ("UNSET", None, mark, [])


@pytest.mark.promise("CORE-42")
def test_an_error_the_call_recorded_itself_is_not_recorded_again(
    spans: SpanRecorder,
) -> None:
    """`span.record_exception` before `raise` leaves one event all the same, and the span fails."""

    @trace_function(name="call")
    def call() -> None:
        try:
            raise OutOfStockError("no pears")
        except OutOfStockError as error:
            trace.get_current_span().record_exception(error)
            raise

    with pytest.raises(OutOfStockError):
        call()
    status, description, attributes, events = describe(spans.one("call"))
    assert (status, description, events) == ("ERROR", "no pears", ["exception"])
    assert attributes == {"error.type": f"{__name__}.OutOfStockError"}


@pytest.mark.promise("CORE-42")
def test_nested_calls_record_the_error_once_each(spans: SpanRecorder) -> None:
    """Every span that the exception passes has one event."""

    @trace_function(name="inner")
    def inner() -> None:
        raise OutOfStockError

    @trace_function(name="outer")
    def outer() -> None:
        inner()

    with pytest.raises(OutOfStockError):
        outer()
    assert [len(span.events) for span in spans] == [1, 1]
    spans.assert_tree("\nouter [INTERNAL] ERROR\n  inner [INTERNAL] ERROR")


@pytest.mark.promise("CORE-42")
def test_an_exception_whose_str_raises_passes_through(spans: SpanRecorder) -> None:
    """The user's broken exception reaches the user, and the span says what could be said."""

    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    @trace_function(name="call")
    def call() -> None:
        raise BrokenError

    with pytest.raises(BrokenError):
        call()
    span = spans.one("call")
    assert span.status.description is not None
    assert span.status.description.endswith("__str__ raised RuntimeError>")


@pytest.mark.promise("CORE-42")
def test_a_process_that_is_interrupted_exports_its_span(otlp_sink: OtlpSink) -> None:
    """KeyboardInterrupt and SystemExit end the process as ever, and the span arrives at the collector."""
    program = f"""
from obs_core import TracingConfig, setup_tracing, trace_function
setup_tracing(TracingConfig(service_name="x", collector_url={otlp_sink.url!r}, collector_protocol="http"))
@trace_function(name="call")
def call(error):
    raise error
try:
    call(KeyboardInterrupt())
except KeyboardInterrupt:
    pass
call(SystemExit(7))
"""
    run = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert run.returncode == 7
    arrived = otlp_sink.wait_for(2, timeout_s=20)
    assert sorted(
        (span.name, span.status, span.attributes["error.type"]) for span in arrived
    ) == [
        ("call", "ERROR", "KeyboardInterrupt"),
        ("call", "ERROR", "SystemExit"),
    ]


@pytest.mark.promise("CORE-40")
def test_concurrent_coroutines_keep_apart(spans: SpanRecorder) -> None:
    """Tasks gathered below one span are siblings, each with its own child."""

    @trace_function(name="task")
    async def task(number: int) -> None:
        await asyncio.sleep(0)
        tracer.start_span(f"child {number}").end()

    @trace_function(name="parent")
    async def main() -> None:
        await asyncio.gather(*(task(number) for number in range(3)))

    asyncio.run(main())
    spans.assert_tree(
        "\nparent [INTERNAL]\n"
        + "\n".join(
            f"  task [INTERNAL]\n    child {number} [INTERNAL]" for number in range(3)
        )
    )


@pytest.mark.promise("CORE-40")
def test_a_coroutine_closed_in_another_context(spans: SpanRecorder) -> None:
    """A half-run coroutine that the collector closes elsewhere ends its span and complains of nothing."""

    @trace_function(name="left")
    async def left() -> None:
        await asyncio.sleep(60)

    coroutine = left()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    contextvars.Context().run(lambda: _step_with_loop(coroutine, loop))
    coroutine.close()
    asyncio.set_event_loop(None)
    loop.close()
    assert describe(spans.one("left")) == OK
    assert trace.get_current_span() is trace.INVALID_SPAN


def _step_with_loop(coroutine: Any, loop: asyncio.AbstractEventLoop) -> None:
    async def step() -> None:
        coroutine.send(None)

    runner = step()
    asyncio._set_running_loop(loop)
    try:
        with suppress(StopIteration):
            runner.send(None)
    finally:
        asyncio._set_running_loop(None)


def test_below_an_unsampled_root_nothing_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The root's decision holds for all calls below it, of every kind, and no span object is made for them."""
    made: list[str] = []

    @trace_function(name="child")
    def child() -> int:
        return trace.get_current_span().get_span_context().span_id

    @trace_function(name="root")
    def root() -> tuple[int, list[int], list[int]]:
        return child(), list(children()), asyncio.run(_all(async_children()))

    @trace_function(name="root of items")
    def children() -> Iterator[int]:
        yield child()

    @trace_function(name="async items")
    async def async_children() -> AsyncIterator[int]:
        yield child()

    async def _all(found: AsyncIterator[int]) -> list[int]:
        return [item async for item in found]

    with record_spans(sampling_rate=0.0) as spans:
        current = trace.get_tracer("x").__class__
        start = current.start_span

        def spy(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
            made.append(name)
            return start(self, name, *args, **kwargs)

        monkeypatch.setattr(current, "start_span", spy)
        one, (two,), (three,) = root()
        assert one == two == three != 0
        assert made == ["root"]
        list(children())
        assert made == ["root", "root of items"]
        assert len(spans) == 0


def test_a_sampler_that_is_not_parent_based_is_asked() -> None:
    """Where a foreign provider samples below unsampled parents, its answer counts."""
    from obs_core.testing._spans import _done, _set_global

    before, once = trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE
    _set_global(TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False), _done())
    try:
        parent = trace.NonRecordingSpan(
            trace.SpanContext(1, 2, True, trace.TraceFlags(0))
        )
        with trace.use_span(parent):
            assert trace_function(lambda: trace.get_current_span().is_recording())()
    finally:
        _set_global(before, once)


@pytest.mark.promise("CORE-45")
def test_without_a_provider_calls_run_as_undecorated() -> None:
    """No provider: every kind works, and nothing is current."""
    program = """
import asyncio
from opentelemetry import trace
from obs_core import trace_function
@trace_function
def call(): return trace.get_current_span()
@trace_function
def items(): yield 1
@trace_function
async def async_items(): yield 2
async def main(): return [item async for item in async_items()]
assert call() is trace.INVALID_SPAN
assert list(items()) == [1] and asyncio.run(main()) == [2]
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
assert call().get_span_context().is_valid
"""
    assert (
        subprocess.run(
            [sys.executable, "-c", program], timeout=60, check=False
        ).returncode
        == 0
    )


@pytest.mark.promise("CORE-42")
def test_a_message_without_utf8_does_not_cost_the_batch(otlp_sink: OtlpSink) -> None:
    """A lone surrogate in an exception's message makes OTLP's encoder refuse the whole batch: it is replaced."""
    program = f"""
from obs_core import TracingConfig, setup_tracing, trace_function
setup_tracing(TracingConfig(service_name="x", collector_url={otlp_sink.url!r}, collector_protocol="http"))
@trace_function(name="call")
def call():
    raise ValueError("a" + chr(0xDC80))
try:
    call()
except ValueError:
    pass
"""
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)
    (span,) = otlp_sink.wait_for(1, timeout_s=10)
    assert (span.description, span.events[0][1]["exception.message"]) == ("a?", "a?")
    assert "ValueError: a" in span.events[0][1]["exception.stacktrace"]
