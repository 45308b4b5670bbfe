"""Recognises finished traces, by the time without new spans."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from threading import Event
from typing import NamedTuple

from obs_view._store import Store
from obs_view._trace import Trace

QUIET_S, INCOMPLETE_QUIET_S = 1.0, 6.0
_POLL_S, _REMEMBERED, _MOST_DOUBLED = 0.1, 10_000, 6


class Finished(NamedTuple):
    """A finished trace; `before` is the number of spans when the trace was yielded before, 0 the first time."""

    trace: Trace
    before: int


class _Yielded(NamedTuple):
    spans: int
    times: int


class Follower:
    """Watches a store for finished traces; to be used by one thread.

    A complete trace (root and all parents received) is finished after `quiet_s` without new spans (default 1 s); an
    incomplete trace after `incomplete_quiet_s` (default 6 s, longer than the SDK's batches wait). Later spans, for instance
    of a retried task, finish the trace once more, each time after twice the quiet time: a trace that grows for minutes is
    yielded again at the end, not with every span.
    """

    def __init__(
        self,
        store: Store,
        quiet_s: float = QUIET_S,
        incomplete_quiet_s: float = INCOMPLETE_QUIET_S,
    ) -> None:
        self._store, self._quiet_s, self._incomplete_quiet_s = (
            store,
            quiet_s,
            incomplete_quiet_s,
        )
        self._sequence = -1
        self._waiting: dict[str, tuple[float, float]] = {}
        self._yielded: OrderedDict[str, _Yielded] = OrderedDict()

    def follow(self, stop: Event) -> Iterator[Finished]:
        """Yield each finished trace, blocking in between; when `stop` is set, yield the remaining traces and end."""
        while not stop.is_set():
            self._look()
            yield from self._due(time.monotonic())
            self._store.wait(lambda: self._store.sequence > self._sequence, _POLL_S)
        self._look()
        yield from self._due(float("inf"))

    def _look(self) -> None:
        changed = self._store.changed(self._sequence)
        for trace_id, sequence, seen in reversed(changed):
            self._sequence = sequence
            due = seen + self._quiet_time(trace_id)
            self._waiting[trace_id] = (due, seen)

    def _quiet_time(self, trace_id: str) -> float:
        yielded = self._yielded.get(trace_id)
        if yielded is None:
            return self._quiet_s
        doubled: int = 2 ** (yielded.times - 1)
        return self._incomplete_quiet_s * doubled

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
        spans, times = self._yielded.pop(trace.trace_id, _Yielded(0, 0))
        self._yielded[trace.trace_id] = _Yielded(
            len(trace.spans), min(times + 1, _MOST_DOUBLED)
        )
        if len(self._yielded) > _REMEMBERED:
            self._yielded.popitem(last=False)
        return spans
