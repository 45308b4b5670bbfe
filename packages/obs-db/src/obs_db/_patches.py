"""Replace parts of a library, and put the originals back exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from threading import Lock
from typing import Any

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


class Shared:
    """A replacement that is in place while anyone uses the replacement; each user releases once.

    Thread-safe.
    """

    def __init__(self, put: Callable[[], None], take_back: Callable[[], None]) -> None:
        self._put = put
        self._take_back = take_back
        self._askers = 0
        self._lock = Lock()

    def acquire(self) -> None:
        """Count a user; the first puts the replacement in place."""
        with self._lock:
            if not self._askers:
                self._put()
            self._askers += 1

    def release(self) -> None:
        """Release a user; the last takes the replacement back."""
        with self._lock:
            self._askers -= 1
            if not self._askers:
                self._take_back()


class Patches:
    """Methods wrapped on their classes, and put back as before.

    A wrapper of ours that another library has wrapped meanwhile stays below that wrapper, and is not
    put in place twice. Methods that this version of the library lacks are left out.

    Args:
        table: ``"module:Class"``, the method's name, and the function that wraps the method.
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
    """Return the class of that path; if the import fails, a class without methods."""
    module, _, name = path.partition(":")
    try:
        cls: type = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return object
    return cls
