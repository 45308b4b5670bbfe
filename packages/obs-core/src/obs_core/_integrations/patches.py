"""Replace methods of classes and objects, and restore the originals."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

_ABSENT = object()


class Patches:
    """The replacements of an instrumentation."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self._is_on = True

    def wrap(self, owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
        """Let calls of `owner`'s method `name` go to ``wrapper(original, *arguments)``.

        `owner` is a class, whose arguments begin with ``self``, or an object, whose do not.
        """
        original = _without_undone(getattr(owner, name))
        replacement = self._around(original, wrapper)
        replacement.__obs_wrapper__ = _Wrapper(replacement, original, self)
        self.replace(owner, name, replacement)

    def wrap_if_present(
        self, path: str, name: str, wrapper: Callable[..., Any]
    ) -> None:
        """Wrap the method `name` of the class `path`, if this version of the library has both.

        Args:
            path: ``"module:Class"``; imported here.
            name: A method that the class itself defines: an inherited method is wrapped where it is defined.
            wrapper: As for `wrap`.
        """
        module, _, class_name = path.partition(":")
        try:
            owner = getattr(import_module(module), class_name)
        except (ImportError, AttributeError):
            return
        if name in vars(owner):
            self.wrap(owner, name, wrapper)

    def _around(self, original: Callable[..., Any], wrapper: Callable[..., Any]) -> Any:
        # another library may hold this wrapper after `undo`; calls are then only passed on
        @functools.wraps(original)
        def method(*args: Any, **kwargs: Any) -> Any:
            if self._is_on:
                return wrapper(original, *args, **kwargs)
            return original(*args, **kwargs)

        @functools.wraps(original)
        async def coroutine_method(*args: Any, **kwargs: Any) -> Any:
            return await method(*args, **kwargs)

        return coroutine_method if inspect.iscoroutinefunction(original) else method

    def replace(self, owner: Any, name: str, replacement: Callable[..., Any]) -> None:
        """Put `replacement` in the place of `owner`'s attribute `name`."""
        before = _without_undone(vars(owner).get(name, _ABSENT))
        setattr(owner, name, replacement)
        self._undo.append(functools.partial(_restore, owner, name, before, replacement))

    def undo(self) -> None:
        """Restore all methods, in reverse order; below the wrapper of another library, ours stays without effect."""
        self._is_on = False
        while self._undo:
            self._undo.pop()()


@dataclass(frozen=True, slots=True)
class _Wrapper:
    """The mark of a wrapper, with the function: `functools.wraps` copies marks to further wrappers."""

    function: Callable[..., Any]
    original: Any
    patches: Patches


def _without_undone(found: Any) -> Any:
    """Return the function below `found`, if `found` is a wrapper of patches that have been undone."""
    mark = getattr(found, "__obs_wrapper__", None)
    if mark is None or mark.function is not found or mark.patches._is_on:
        return found
    return _without_undone(mark.original)


def _restore(owner: Any, name: str, before: object, replacement: object) -> None:
    # the wrapper that another library has put around ours since would go with ours
    if vars(owner).get(name) is not replacement:
        return
    if before is _ABSENT:
        delattr(owner, name)
    else:
        setattr(owner, name, before)
