"""The instrumented targets of a library (apps, engines, clients, sessions) and their options."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, ref

Undo = Callable[[], None]
V = TypeVar("V")


class Targets(Generic[V]):
    """A value for each single target, and a value for all remaining targets, made before or after.

    The value is the caller's: the options, or an object made of them. Targets are held weakly. Thread-safe.

    Args:
        connect: Called for the first target: patches the library or listens to its events, and returns the undo,
            which is called when the last target is removed.
    """

    __slots__ = (
        "_connect",
        "_disconnect",
        "_has_single",
        "_lock",
        "_of_all",
        "_of_single",
    )

    def __init__(self, connect: Callable[[], Undo]) -> None:
        self._connect = connect
        self._disconnect: Undo | None = None
        self._lock = threading.RLock()
        self._of_all: V | None = None
        self._of_single: WeakKeyDictionary[Any, V] = WeakKeyDictionary()
        self._has_single = (
            False  # the truth of a WeakKeyDictionary costs as much as a look-up
        )

    def add(self, target: object | None, value: V) -> Undo:
        """Keep `value` for `target` (None: for all targets without a separate value); return the undo.

        For `instrument_once`: ``instrument_once("mail", lambda: targets.add(client, options), target=client)``.
        """
        with self._lock:
            if self._disconnect is None:
                self._disconnect = self._connect()
            if target is None:
                self._of_all = value
                return partial(self._remove, None)
            self._of_single[target] = value
            self._has_single = True
            return partial(self._remove, ref(target))

    def _remove(self, reference: ref[object] | None) -> None:
        with self._lock:
            if reference is None:
                self._of_all = None
            elif (target := reference()) is not None:
                self._of_single.pop(target, None)
            self._has_single = bool(self._of_single)
            if self or self._disconnect is None:
                return
            disconnect, self._disconnect = self._disconnect, None
            disconnect()

    def find(self, target: object) -> V | None:
        """Return the value for `target`; None: `target` is not instrumented."""
        if self._has_single:
            return self._of_single.get(target, self._of_all)
        return self._of_all

    def __bool__(self) -> bool:
        return self._of_all is not None or bool(self._of_single)

    def __iter__(self) -> Iterator[V]:
        yield from list(self._of_single.values())
        if self._of_all is not None:
            yield self._of_all
