"""The options in force for each engine or client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary, ref

K = TypeVar("K")
C = TypeVar("C")


class Chosen(Generic[K, C]):
    """A choice for all and choices for single keys, which win; keys are held weakly. Thread-safe."""

    def __init__(self) -> None:
        self._for_all: C | None = None
        self._for_one: WeakKeyDictionary[K, C] = WeakKeyDictionary()

    def set(self, key: K | None, choice: C) -> None:
        """Choose for `key`; None: for all keys."""
        if key is None:
            self._for_all = choice
        else:
            self._for_one[key] = choice

    def take_back(self, key: K | None) -> C | None:
        """Undo `set` and return the former choice."""
        if key is not None:
            return self._for_one.pop(key, None)
        choice, self._for_all = self._for_all, None
        return choice

    def of(self, key: K) -> C | None:
        """Return the choice in force for `key`."""
        return self._for_one.get(key, self._for_all)


def forgetting(forget: Callable[[K | None], None], key: K | None) -> Callable[[], None]:
    """Return a function that calls ``forget(key)`` if `key` is still alive.

    `key` is held weakly.
    """
    if key is None:
        return lambda: forget(None)
    alive = ref(key)

    def run() -> None:
        found = alive()
        if found is not None:
            forget(found)

    return run
