"""The span of a generator or a stream, with the number of items and the time to the first."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Protocol

from opentelemetry.trace import Span, set_span_in_context

from obs_core._decorators.generator_context import StepContext
from obs_core._safety.containment import call_contained

Failed = Callable[[Span, BaseException], None]

ITEMS_COUNT = "obs.items.count"
ITEMS_FIRST_AFTER = "obs.items.first_after"


class Watcher(Protocol):
    """Observes the items or the answer of a traced call; exceptions are contained."""

    def item(self, item: object) -> None:
        """Observe a yielded item, or the whole answer."""

    def end(self, first_after_s: float | None) -> None:
        """Record the result on the span, which ends next; `first_after_s`: seconds to the first item, if any."""


class GeneratorSpan:
    """The span of a generator or a stream: counts items, and ends once."""

    __slots__ = (
        "_counts",
        "_failed",
        "_first_after_s",
        "_items",
        "_span",
        "_started",
        "_watcher",
        "context",
    )

    def __init__(
        self, span: Span, failed: Failed, watcher: Watcher | None = None
    ) -> None:
        self.context = StepContext(set_span_in_context(span))
        self._span: Span | None = span
        self._failed = failed
        self._watcher = watcher
        self._items = 0
        self._counts = True
        self._first_after_s: float | None = None
        self._started = perf_counter()

    def item(self, item: object) -> None:
        """Count an item."""
        if self._items == 0:
            self._first_after_s = perf_counter() - self._started
        self._items += 1
        self.look(item)

    def look(self, item: object) -> None:
        """Show `item` to the watcher, uncounted."""
        if self._watcher is not None:
            call_contained("looking at an item", self._watcher.item, item)

    def end_whole(self, answer: object) -> None:
        """End the span of a call that returned `answer` instead of a stream. Never raises."""
        self._counts = False
        self.look(answer)
        self.end()

    def end_failed(self, error: BaseException) -> None:
        """End the span of a call that raised `error` before the first item. Never raises."""
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
            if self._first_after_s is not None:
                span.set_attribute(ITEMS_FIRST_AFTER, self._first_after_s)
            if self._watcher is not None:
                watched = self._watcher.end
                call_contained("looking at the items", watched, self._first_after_s)
        finally:
            span.end()
