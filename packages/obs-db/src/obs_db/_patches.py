"""What is put in place on a library, and taken back exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from threading import Lock
from typing import Any

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


class Shared:
    """Something that is in place while anyone asks for it; each asker releases once. Thread-safe."""

    def __init__(self, put: Callable[[], None], take_back: Callable[[], None]) -> None:
        self._put = put
        self._take_back = take_back
        self._askers = 0
        self._lock = Lock()

    def acquire(self) -> None:
        """Put it in place, unless it is."""
        with self._lock:
            if not self._askers:
                self._put()
            self._askers += 1

    def release(self) -> None:
        """Take it back when nobody asks for it any more."""
        with self._lock:
            self._askers -= 1
            if not self._askers:
                self._take_back()


class Patches:
    """Methods wrapped on their classes, and put back as they were.

    Where somebody has wrapped ours meanwhile, ours stays below theirs, and is not put in place a
    second time. What this version of the library does not have is left out.

    Args:
        table: ``"module:Class"``, the method's name, and what wraps the method.
    """

    def __init__(self, table: Iterable[tuple[str, str, Wrap]]) -> None:
        self._table = tuple(table)
        self._in_place: dict[tuple[type, str], tuple[Any, Any]] = {}

    def apply(self) -> None:
        """Wrap the methods."""
        for path, method, wrap in self._table:
            cls = _class(path)
            original = vars(cls).get(method)
            if original is not None and (cls, method) not in self._in_place:
                self._in_place[cls, method] = (original, ours := wrap(original))
                setattr(cls, method, ours)

    def take_back(self) -> None:
        """Put the methods back."""
        for (cls, method), (original, ours) in list(self._in_place.items()):
            if cls.__dict__[method] is ours:
                setattr(cls, method, original)
                del self._in_place[cls, method]


def _class(path: str) -> type:
    """Return the class of that path; where it cannot be imported, one without methods."""
    module, _, name = path.partition(":")
    try:
        cls: type = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return object
    return cls
