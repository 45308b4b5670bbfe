"""Run generators and async generators under a span, each step in the generator's own context."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial
from typing import Any

from obs_core._decorators.calls import span_starter
from obs_core._decorators.generator_span import GeneratorSpan
from obs_core._decorators.spec import AnyCallable, SpanSpec

Step = Callable[[], Awaitable[Any]]


def trace_generator(function: AnyCallable, spec: SpanSpec) -> AnyCallable:
    """Wrap a generator function."""
    start = span_starter(spec)

    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        span = start(args, kwargs)
        if span is None:
            return (yield from function(*args, **kwargs))
        counted = spec.generator_span(span)
        try:
            driven = _Driven(function(*args, **kwargs), counted)
        except BaseException as error:
            counted.end(error)
            raise
        try:
            return (yield from driven)
        except GeneratorExit:
            if driven.returned_on_close:
                return driven.returned_on_close[0]
            raise

    return wrapper


class _Driven:
    """The generator behind ``yield from``: each step in the generator's own context, and counted."""

    __slots__ = ("_counted", "_inner", "_run", "returned_on_close")

    def __init__(self, inner: Generator[Any, Any, Any], counted: GeneratorSpan) -> None:
        self._inner = inner
        self._counted = counted
        self._run = counted.context.run
        self.returned_on_close: tuple[Any, ...] = ()

    def __iter__(self) -> _Driven:
        return self

    def __next__(self) -> Any:
        return self._step(self._inner.__next__)

    def send(self, value: Any) -> Any:
        return self._step(self._inner.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._inner.throw, *error)

    def close(self) -> None:
        try:
            self._step(self._inner.throw, GeneratorExit())
        except GeneratorExit:
            return
        except StopIteration as stop:
            self.returned_on_close = (stop.value,)
            return
        raise RuntimeError("generator ignored GeneratorExit")

    def _step(self, step: AnyCallable, *args: Any) -> Any:
        try:
            item = self._run(step, *args)
        except StopIteration:
            self._counted.end()
            raise
        except BaseException as error:
            self._counted.end(error)
            raise
        self._counted.item(item)
        return item


def trace_async_generator(function: AnyCallable, spec: SpanSpec) -> AnyCallable:
    """Wrap an async generator function."""
    begin = _generator_starter(spec)

    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        counted = begin(args, kwargs)
        try:
            steps = _AsyncSteps(function(*args, **kwargs), counted.context.run_async)
            item = await steps.first()
            while True:
                counted.item(item)
                sent, thrown = None, None
                try:
                    sent = yield item
                except BaseException as error:  # noqa: BLE001 - any exception goes to the inner generator
                    thrown = error
                # not below `except`: the inner generator would see this exception as the current one
                item = await steps.next(sent, thrown)
        except StopAsyncIteration:
            return
        except BaseException as error:
            counted.end(error)
            raise
        finally:
            counted.end()

    return wrapper


def _generator_starter(
    spec: SpanSpec,
) -> Callable[[tuple[Any, ...], dict[str, Any]], GeneratorSpan | _NoSpan]:
    start = span_starter(spec)

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> GeneratorSpan | _NoSpan:
        span = start(args, kwargs)
        if span is None:
            return _NoSpan()
        return spec.generator_span(span)

    return begin


class _AsyncSteps:
    """The steps of an async generator; `run` awaits each in the generator's own context."""

    __slots__ = ("_inner", "_run")

    def __init__(
        self, inner: AsyncGenerator[Any, Any], run: Callable[[Step], Awaitable[Any]]
    ) -> None:
        self._inner = inner
        self._run = run

    def first(self) -> Awaitable[Any]:
        return self._run(partial(_unhooked, self._inner.__anext__))

    def next(self, sent: object, thrown: BaseException | None) -> Awaitable[Any]:
        if thrown is not None:
            return self._run(partial(self._inner.athrow, thrown))
        return self._run(partial(self._inner.asend, sent))


class _NoSpan:
    """The counterpart of `GeneratorSpan` for a call without a span."""

    __slots__ = ()

    @property
    def context(self) -> _NoSpan:
        return self

    def run_async(self, step: Step) -> Awaitable[Any]:
        return step()

    def item(self, item: object) -> None:
        pass

    def end(self, error: BaseException | None = None) -> None:
        pass


def _unhooked(first_step: Step) -> Awaitable[Any]:
    """Take the first step of an inner generator unseen by the event loop, which would close the inner generator too."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return first_step()
    finally:
        sys.set_asyncgen_hooks(*hooks)
