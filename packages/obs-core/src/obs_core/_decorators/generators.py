"""Run generators under a span: each step in the generator's own context, whoever consumes."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial
from typing import Any

from obs_core._decorators.calls import AnyCallable, Plan, span_starter
from obs_core._decorators.generator_context import Steps


def trace_generator(function: AnyCallable, plan: Plan) -> AnyCallable:
    """Wrap a generator function."""
    start = span_starter(plan)

    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        span = start(args, kwargs)
        if span is None:
            return (yield from function(*args, **kwargs))
        steps = plan.steps(span)
        try:
            driven = _Driven(function(*args, **kwargs), steps)
        except BaseException as error:
            steps.end(error)
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

    __slots__ = ("_inner", "_run", "_steps", "returned_on_close")

    def __init__(self, inner: Generator[Any, Any, Any], steps: Steps) -> None:
        self._inner = inner
        self._steps = steps
        self._run = steps.context.run
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
            self._steps.end()
            raise
        except BaseException as error:
            self._steps.end(error)
            raise
        self._steps.item(item)
        return item


def trace_async_generator(function: AnyCallable, plan: Plan) -> AnyCallable:
    """Wrap an async generator function."""
    start = span_starter(plan)

    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        span = start(args, kwargs)
        steps = plan.steps(span) if span is not None else _NoSteps()
        try:
            inner = function(*args, **kwargs)
            step = partial(_unhooked, inner.__anext__)
            while True:
                item = await steps.context.run_async(step)
                steps.item(item)
                try:
                    step = partial(inner.asend, (yield item))
                except BaseException as error:  # noqa: BLE001 - goes to the generator, whatever it is
                    step = partial(inner.athrow, error)
        except StopAsyncIteration:
            return
        except BaseException as error:
            steps.end(error)
            raise
        finally:
            steps.end()

    return wrapper


class _NoSteps:
    """The counterpart of `Steps` without a span."""

    __slots__ = ()

    @property
    def context(self) -> _NoSteps:
        return self

    def run_async(self, step: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
        return step()

    def item(self, item: object) -> None:
        pass

    def end(self, error: BaseException | None = None) -> None:
        pass


def _unhooked(first_step: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
    """Take the first step of an inner generator unseen by the event loop, which would close the inner generator too."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return first_step()
    finally:
        sys.set_asyncgen_hooks(*hooks)
