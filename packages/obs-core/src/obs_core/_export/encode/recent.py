"""A table of bounded size, which forgets the entries that were not used lately."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A table of bounded size: entries that are not used while others fill the table are forgotten.

    Two generations: the younger, when full, becomes the older. No lock is taken: threads that add at the very same moment may
    lose entries, which are made again.

    Args:
        max_entries: Entries in a generation.

    Attributes:
        young: The younger generation.
    """

    __slots__ = ("_max_entries", "_old", "young")

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._old: dict[K, V] = {}
        self.young: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def recall(self, key: K) -> V | None:
        """Look an entry up in both generations."""
        found = self.young.get(key)
        if found is None and (found := self._old.get(key)) is not None:
            self.keep(key, found)
        return found

    def keep(self, key: K, value: V) -> None:
        """Add an entry."""
        if len(self.young) >= self._max_entries:
            self._old, self.young = self.young, {}
        self.young[key] = value
