"""Folding of equal traces of a single span, for instance a poller's: ``42 x SELECT ctl_systems``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from obs_view._follow import Finished
from obs_view._text import clean, duration
from obs_view._trace import Trace

FOLD_S = 10.0
_Key = tuple[str, str]


@dataclass(slots=True)
class _Fold:
    since: float
    count: int = 0
    least: int = 0
    most: int = 0

    def add(self, trace: Trace) -> None:
        length = trace.duration
        if self.count == 0:
            self.least = length
        self.least = min(self.least, length)
        self.most = max(self.most, length)
        self.count += 1


class Folder:
    """Passes traces on, but of equal single-span traces without an error only the first, and counts the rest.

    A kind's count is passed on as a line with the first trace after `fold_s` seconds (default 10), and at the end.
    """

    def __init__(self, fold_s: float = FOLD_S) -> None:
        self._fold_s = fold_s
        self._folds: dict[_Key, _Fold] = {}

    def pass_on(self, finished: Iterable[Finished]) -> Iterator[Finished | str]:
        """Yield traces, and lines that stand for several."""
        for item in finished:
            yield from self._due(time.monotonic())
            if not self._is_folded(item.trace):
                yield item
        yield from self._due(float("inf"))

    def _is_folded(self, trace: Trace) -> bool:
        if len(trace.spans) > 1 or trace.errors or trace.missing_parents:
            return False
        key = trace.root.service, trace.root.name
        if key in self._folds:
            self._folds[key].add(trace)
            return True
        self._folds[key] = _Fold(time.monotonic())
        return False

    def _due(self, now: float) -> Iterator[str]:
        for key, fold in list(self._folds.items()):
            if fold.since + self._fold_s <= now:
                del self._folds[key]
                if fold.count:
                    yield _line(key, fold)


def _line(key: _Key, fold: _Fold) -> str:
    service, name = map(clean, key)
    lengths = dict.fromkeys((duration(fold.least), duration(fold.most)))
    length = " to ".join(lengths)
    return f"{fold.count} \N{MULTIPLICATION SIGN} {name} · {service} · {length}"
