"""The buffer of unsampled requests: bounds for all requests of a process together.

Retroactive sampling, after "The Benefit of Hindsight" (NSDI 2023): recording in memory is cheap, exporting is not.
"""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import count
from typing import Any, Protocol

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import SpanContext, SpanKind
from opentelemetry.util.types import Attributes

from obs_core._config.keep import Keep
from obs_core._export.recording import Recording
from obs_core._safety.fork_watch import fork_watch
from obs_core._spans.kept import marked, told_reason
from obs_core._spans.light import new_span
from obs_core._spans.origin import SpanOrigin
from obs_core._spans.recorded import RecordedSpan

#: What is left of the bytes when room is made: else room would be made at every span.
_ROOM_MADE = 0.9


class KeptSink(Protocol):
    """Takes the spans of kept requests."""

    def put_kept(self, span: ReadableSpan) -> None:
        """Export a span."""

    def drop_unsampled(self) -> None:
        """Count a span that a bound has cost."""

    def has_room(self) -> bool:
        """Whether spans of another request can be taken; sampled spans come first."""


class Keeper(SpanProcessor):
    """Makes the spans of unsampled requests, and holds them until their request is kept or over.

    Takes no lock; safe in signal handlers. The count of bytes may be off by spans that end at the very same moment on other
    threads, and is put right whenever room is made. A forked child starts with an empty buffer.

    Attributes:
        limits: The user's settings.
        sink: Takes the spans of kept requests.
        process: Another object in each process: spans that were open at a fork are the parent's.
    """

    def __init__(self, limits: Keep, sink: KeptSink) -> None:
        self.limits = limits
        self.sink = sink
        self.process: object = object()
        self._holding: dict[Recording, float] = {}
        self._size = 0
        self._second, self._admitted = 0, count()
        fork_watch.call_in_child(self.after_fork_in_child)

    @property
    def size(self) -> int:
        """About how many bytes the held spans take."""
        return self._size

    def new_span(
        self,
        above: object,
        origin: SpanOrigin,
        name: str,
        own: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes,
        start_time: int | None,
    ) -> RecordedSpan:
        """Return a span that has started, in the recording of the span `above`, or in a new one."""
        recording: Recording | None = getattr(above, "_recording", None)
        if recording is None:
            recording = self._begin(own.span_id, told_reason(parent))
        elif recording.reason is not None:
            own = marked(own, recording.reason)
        span: Any = new_span(
            origin, name, own, parent, kind, attributes, start_time, RecordedSpan
        )
        span._recording = recording
        span._process = self.process
        recording.hold()
        return span  # type: ignore[no-any-return] # of the class that is given

    def _begin(self, root_id: int, told: str | None) -> Recording:
        recording = Recording(self, root_id)
        if told is not None:
            recording.keep(told, told=True)
        return recording

    def on_end(self, span: ReadableSpan) -> None:
        """Hand a span that is not sampled to its recording."""
        if type(span) is RecordedSpan:
            span._recording.ended(span)  # type: ignore[attr-defined] # no recording but ours

    def admits(self, *, told: bool) -> bool:
        """Whether another request can be kept; one that another service keeps counts there."""
        if not self.sink.has_room():
            return False
        if told:
            return True
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._admitted = second, count()
        return next(self._admitted) < self.limits.max_requests_per_s

    def note_held(self, recording: Recording, size: int) -> None:
        """Count bytes that `recording` holds from now on; make room if that is too much."""
        self._size += size
        if recording not in self._holding:
            now = self._holding[recording] = time.monotonic()
            self._let_go(older_than=now - self.limits.max_age_s)
        if self._size > self.limits.max_bytes:
            self._make_room()

    def note_gone(self, size: int) -> None:
        """Count bytes that are held no longer."""
        self._size -= size

    def forget(self, recording: Recording) -> None:
        """Note that `recording` holds nothing."""
        self._holding.pop(recording, None)
        self._size -= recording.size
        recording.size = 0

    def _make_room(self) -> None:
        self._size = sum(recording.size for recording in list(self._holding))
        while self._size > self.limits.max_bytes * _ROOM_MADE:
            if (oldest := self._oldest()) is None:
                return
            oldest.give_way()

    def _let_go(self, older_than: float) -> None:
        while (oldest := self._oldest()) is not None:
            if self._holding.get(oldest, older_than) >= older_than:
                return
            oldest.give_way()

    def _oldest(self) -> Recording | None:
        # RuntimeError: another thread has added one meanwhile; the next span asks again
        with suppress(StopIteration, RuntimeError):
            return next(iter(self._holding))
        return None

    def after_fork_in_child(self) -> None:
        """Empty the buffer: what is held is the parent's."""
        self.process = object()
        held, self._holding = self._holding, {}
        for recording in list(held):
            recording.clear()
        self._size = 0
        self._second = 0

    def shutdown(self) -> None:
        """Drop what is held."""
        for recording in list(self._holding):
            recording.clear()
