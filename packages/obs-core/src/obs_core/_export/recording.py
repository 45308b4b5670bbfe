"""The spans of an unsampled request in this process, held until it is known whether the request is kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.trace import Span, StatusCode

from obs_core._export.span_size import size_of
from obs_core._spans.kept import DROPPED_SPANS, KEPT
from obs_core._spans.light import LightSpan
from obs_core._spans.recorded import RecordedSpan

if TYPE_CHECKING:
    from obs_core._export.keeper import Keeper


class Recording:
    """Undecided at first; then kept, or refused because of a bound.

    Kept: the held spans are exported at once, and later ones when they end. Undecided, with the local root and all other
    spans ended: the held spans are dropped. Spans that start after that are held again, since they may still fail.

    Takes no lock. Of several threads, the one that takes the only element of `_undecided` decides; each held span is taken
    out by a single thread.

    Attributes:
        reason: Why the request is kept, or None.
        size: About how many bytes the held spans take.
    """

    __slots__ = (
        *("_dropped", "_held", "_is_refused", "_keeper", "_open", "_root_id"),
        *("_root_has_ended", "_undecided", "reason", "size"),
    )

    def __init__(self, keeper: Keeper, root_id: int) -> None:
        self._keeper = keeper
        self._root_id = root_id
        self._root_has_ended = False
        self._undecided = [None]
        self._is_refused = False
        self._open: list[None] = []
        # a list: a deque of a few spans takes ten times the memory
        self._held: list[RecordedSpan] = []
        self._dropped = 0
        self.reason: str | None = None
        self.size: int = 0

    def hold(self) -> None:
        """See `obs_core._spans.kept.Recording`; each span holds its request too, from its start to its end."""
        self._open.append(None)

    def let_go(self) -> None:
        """See `obs_core._spans.kept.Recording`."""
        self._open.pop()
        if self._root_has_ended and self._undecided and not self._open:
            self.clear()

    def ended(self, span: RecordedSpan) -> None:
        """Take a span that has ended; decide, if the span decides."""
        is_root = span._context[1] == self._root_id
        if span._process is self._keeper.process:
            self._hold(span)
            # most spans are well, and have the status that all spans share
            if is_root or span._status is not LightSpan._status:
                self._judge(span, is_root=is_root)
        if is_root:
            self._root_has_ended = True
        # after the span is held: a thread that finds nothing open drops what is held
        self._open.pop()
        if not self._undecided:
            self._release()
        elif self._root_has_ended and not self._open:
            self.clear()

    def _judge(self, span: RecordedSpan, *, is_root: bool) -> None:
        end = span._end_time
        if self._keeper.limits.errors and span._status.status_code is StatusCode.ERROR:
            self.keep("error")
        elif is_root and end is not None and self._is_slow(end - span._start_time):
            self.keep("slow")

    def _is_slow(self, took_ns: int) -> bool:
        slower_than_s = self._keeper.limits.slower_than_s
        return slower_than_s is not None and took_ns > slower_than_s * 1e9

    def decide(self, span: Span, *, fails: bool) -> None:
        """See `obs_core._spans.kept.Recording`."""
        if fails and self._keeper.limits.errors:
            self.keep("error")
        elif span.get_span_context().span_id == self._root_id:
            started: int = getattr(span, "start_time", None) or 0
            if self._is_slow(time.time_ns() - started):
                self.keep("slow")

    def keep(self, reason: str, *, told: bool = False) -> None:
        """See `obs_core._spans.kept.Recording`."""
        try:
            self._undecided.pop()
        except IndexError:
            return
        if self._keeper.admits(told=told):
            self.reason = reason
        else:
            self._is_refused = True
        self._release()

    def _hold(self, span: RecordedSpan) -> None:
        if not self._undecided:
            self._held.append(span)
            return
        keeper = self._keeper
        if len(self._held) >= keeper.limits.max_spans:
            self._drop_oldest()
        self._held.append(span)
        size = size_of(span)
        self.size += size
        keeper.note_held(self, size)

    def _drop_oldest(self) -> None:
        if (oldest := self._next()) is not None:
            size = size_of(oldest)
            self.size -= size
            self._keeper.note_gone(size)
            self._note_dropped()

    def _next(self) -> RecordedSpan | None:
        """Take the oldest held span out; each goes to a single caller."""
        try:
            return self._held.pop(0)
        except IndexError:
            return None

    def _note_dropped(self) -> None:
        self._dropped += 1
        self._keeper.sink.drop_unsampled()

    def _release(self) -> None:
        """Export or drop what is held, by the decision; not yet, if another thread is about to write the decision."""
        if self.reason is not None:
            while (span := self._next()) is not None:
                self._export(span, self.reason)
        elif self._is_refused:
            while self._next() is not None:
                self._note_dropped()
        if not self._held:
            self._keeper.forget(self)

    def _export(self, span: RecordedSpan, reason: str) -> None:
        more: dict[str, str | int] = {KEPT: reason}
        if self._dropped and span._context.span_id == self._root_id:
            more[DROPPED_SPANS] = self._dropped
        # the dict of an ended span never changes under its reader
        span._attributes = {**span._attributes, **more}
        self._keeper.sink.put_kept(span)

    def clear(self) -> None:
        """Drop the held spans of a request that is well, or of a forked child's parent, without counting."""
        self._held.clear()
        self._keeper.forget(self)

    def give_way(self) -> None:
        """Drop and count the held spans, to make room; what ends from now on is held again."""
        while self._next() is not None:
            self._note_dropped()
        self._keeper.forget(self)
