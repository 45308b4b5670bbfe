"""Which options are in force for which engine or client."""

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
        """Choose for `key`; None: for all."""
        if key is None:
            self._for_all = choice
        else:
            self._for_one[key] = choice

    def take_back(self, key: K | None) -> C | None:
        """Undo `set` and return what was chosen."""
        if key is not None:
            return self._for_one.pop(key, None)
        choice, self._for_all = self._for_all, None
        return choice

    def of(self, key: K) -> C | None:
        """Return what is in force for `key`."""
        return self._for_one.get(key, self._for_all)


def forgetting(forget: Callable[[K | None], None], key: K | None) -> Callable[[], None]:
    """Return what calls ``forget(key)``, unless `key` is gone by then; `key` is held weakly."""
    if key is None:
        return lambda: forget(None)
    alive = ref(key)

    def run() -> None:
        found = alive()
        if found is not None:
            forget(found)

    return run
