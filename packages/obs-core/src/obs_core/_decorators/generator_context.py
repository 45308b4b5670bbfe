"""The span of a generator, and the context of the generator's steps."""

from __future__ import annotations

import contextvars
import types
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from time import perf_counter
from typing import Any, ParamSpec, Protocol, TypeVar

from opentelemetry.context import Context, attach
from opentelemetry.trace import Span, set_span_in_context

from obs_core._safety.containment import call_contained

P = ParamSpec("P")
R = TypeVar("R")
Run = Callable[..., Any]
Failed = Callable[[Span, BaseException], None]

ITEMS_COUNT = "obs.items.count"
ITEMS_FIRST_AFTER = "obs.items.first_after"
_UNKNOWN = object()


class Watcher(Protocol):
    """Observes the items or the answer of a traced call; exceptions are contained."""

    def item(self, item: object) -> None:
        """Observe a yielded item, or the whole answer."""

    def end(self, first_after: float | None) -> None:
        """Record the result on the span, which ends next; `first_after`: seconds to the first item, if any."""


def _telemetry_variables() -> frozenset[contextvars.ContextVar[Any]]:
    probe = contextvars.Context()
    probe.run(attach, Context())
    return frozenset(probe)


_TELEMETRY = _telemetry_variables()


class StepContext:
    """The `contextvars.Context` of all steps of a generator, in any thread or task.

    OpenTelemetry's variables belong to this context alone: tokens fit, and the consumer's context stays clean. Every other
    variable is shared with the consumer in both directions, as in an untraced generator: a library that sets a variable
    before ``yield`` works the same, sampled or not. Not thread-safe, like any generator.
    """

    __slots__ = ("_context", "_inner_tokens", "_known", "_outer_tokens")

    def __init__(self, context: Context) -> None:
        self._context = contextvars.Context()
        self._context.run(attach, context)
        self._known: dict[contextvars.ContextVar[Any], object] = {}
        self._inner_tokens: dict[contextvars.ContextVar[Any], contextvars.Token[Any]] = {}
        self._outer_tokens: dict[contextvars.ContextVar[Any], contextvars.Token[Any]] = {}

    def run(self, step: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `step` in the context."""
        self.take_over()
        try:
            return self._context.run(step, *args, **kwargs)
        finally:
            self.hand_back()

    @types.coroutine
    def run_async(self, step: Callable[[], Awaitable[R]]) -> Generator[Any, Any, R]:
        """Await the result of `step` in the context, one resumption after another."""
        self.take_over()
        try:
            run = self._context.run
            running = run(lambda: step().__await__())
            sent, error = None, None
            while True:
                wanted = run(running.send, sent) if error is None else run(running.throw, error)
                sent, error = None, None
                try:
                    sent = yield wanted
                except BaseException as thrown:  # noqa: BLE001 - goes to the one who is awaited, whatever it is
                    error = thrown
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            self.hand_back()

    def take_over(self) -> None:
        """Bring in the variables that the consumer changed since the last step."""
        self._carry(contextvars.copy_context(), self._context.run, self._inner_tokens)

    def hand_back(self) -> None:
        """Bring out the variables that the step changed."""
        self._carry(self._context, lambda change, value: change(value), self._outer_tokens)

    def _carry(
        self,
        source: contextvars.Context,
        run: Run,
        tokens: dict[contextvars.ContextVar[Any], contextvars.Token[Any]],
    ) -> None:
        known = self._known
        for variable, value in source.items():
            if known.get(variable, _UNKNOWN) is not value and variable not in _TELEMETRY:
                token = run(variable.set, value)
                if variable not in known:
                    tokens[variable] = token
                known[variable] = value
        for variable in [variable for variable in known if variable not in source]:
            del known[variable]
            if variable in tokens:
                with suppress(
                    ValueError
                ):  # the token is of another consumer's context, which never had the value
                    run(variable.reset, tokens.pop(variable))


class Steps:
    """The span of a generator: counts items, and ends once."""

    __slots__ = (
        "_counts",
        "_failed",
        "_first_after",
        "_items",
        "_span",
        "_started",
        "_watcher",
        "context",
    )

    def __init__(self, span: Span, failed: Failed, watcher: Watcher | None = None) -> None:
        self.context = StepContext(set_span_in_context(span))
        self._span: Span | None = span
        self._failed = failed
        self._watcher = watcher
        self._items = 0
        self._counts = True
        self._first_after = 0.0
        self._started = perf_counter()

    def item(self, item: object) -> None:
        """Count an item."""
        if self._items == 0:
            self._first_after = perf_counter() - self._started
        self._items += 1
        self.look(item)

    def look(self, item: object) -> None:
        """Show `item` to the watcher, uncounted."""
        if self._watcher is not None:
            call_contained("looking at an item", self._watcher.item, item)

    def end_whole(self, answer: object) -> None:
        """End the span, marked by `error` if given; a second call does nothing. Never raises."""
        self._counts = False
        self.look(answer)
        self.end()

    def end_failed(self, error: BaseException) -> None:
        """End the span, marked by `error` if given; a second call does nothing. Never raises."""
        self._counts = False
        self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """End the span, marked by `error` if given; a second call does nothing. Never raises."""
        span, self._span = self._span, None
        if span is not None:
            call_contained("ending a span", self._end, span, error)

    def _end(self, span: Span, error: BaseException | None) -> None:
        try:
            if error is not None:
                self._failed(span, error)
            if self._counts:
                span.set_attribute(ITEMS_COUNT, self._items)
            if self._items:
                span.set_attribute(ITEMS_FIRST_AFTER, self._first_after)
            if self._watcher is not None:
                call_contained(
                    "looking at the items",
                    self._watcher.end,
                    self._first_after if self._items else None,
                )
        finally:
            span.end()
