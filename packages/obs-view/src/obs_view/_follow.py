"""Recognises finished traces: a trace never says so itself."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from threading import Event
from typing import NamedTuple

from obs_view._model import Trace
from obs_view._store import Store

QUIET_S, INCOMPLETE_QUIET_S = 1.0, 6.0
_POLL_S, _REMEMBERED = 0.1, 10_000


class Finished(NamedTuple):
    """A finished trace; `before` is how many spans it had when it was yielded before, 0 the first time."""

    trace: Trace
    before: int


class Follower:
    """Watches a store for finished traces; to be used by one thread.

    A trace is finished when its root and all parents have come and nothing new for `quiet_s` (default 1 s); one with parts
    missing after `incomplete_quiet_s` (default 6 s, more than the SDK's batches wait). Spans that come later, as those of a
    task that was tried again, finish it once more.
    """

    def __init__(
        self, store: Store, quiet_s: float = QUIET_S, incomplete_quiet_s: float = INCOMPLETE_QUIET_S
    ) -> None:
        self._store, self._quiet_s, self._incomplete_quiet_s = store, quiet_s, incomplete_quiet_s
        self._sequence = -1
        self._waiting: dict[str, tuple[float, float]] = {}
        self._spans: OrderedDict[str, int] = OrderedDict()

    def follow(self, stop: Event) -> Iterator[Finished]:
        """Yield each trace as it finishes, blocking in between; when `stop` is set, what is left as it stands, and end."""
        while not stop.is_set():
            self._look()
            yield from self._due(time.monotonic())
            self._store.wait(lambda: self._store.sequence > self._sequence, _POLL_S)
        self._look()
        yield from self._due(float("inf"))

    def _look(self) -> None:
        for trace_id, sequence, seen in reversed(self._store.changed(self._sequence)):
            self._sequence = sequence
            self._waiting[trace_id] = (seen + self._quiet_s, seen)

    def _due(self, now: float) -> Iterator[Finished]:
        for trace_id, (due, seen) in list(self._waiting.items()):
            if due > now:
                continue
            trace = self._store.get(trace_id)
            patient = seen + self._incomplete_quiet_s
            if trace is not None and not trace.complete and now < patient:
                self._waiting[trace_id] = (patient, seen)
                continue
            del self._waiting[trace_id]
            if trace is not None:
                yield Finished(trace, self._remember(trace))

    def _remember(self, trace: Trace) -> int:
        before = self._spans.pop(trace.trace_id, 0)
        self._spans[trace.trace_id] = len(trace.spans)
        if len(self._spans) > _REMEMBERED:
            self._spans.popitem(last=False)
        return before
