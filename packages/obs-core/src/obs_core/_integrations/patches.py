"""Replace methods of classes and objects, and restore the originals."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
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
        original = getattr(owner, name)
        if isinstance(owner, type):
            self.replace(owner, name, _method(original, functools.partial(self._call, wrapper)))
        else:
            call = functools.partial(self._call, wrapper, original)
            self.replace(owner, name, functools.wraps(original)(call))

    def _call(
        self, wrapper: Callable[..., Any], original: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        # others may have wrapped our wrapper since, or kept it; after `undo` it only passes calls on
        return wrapper(original, *args, **kwargs) if self._is_on else original(*args, **kwargs)

    def replace(self, owner: Any, name: str, replacement: Callable[..., Any]) -> None:
        """Put `replacement` in the place of `owner`'s attribute `name`."""
        before = vars(owner).get(name, _ABSENT)
        setattr(owner, name, replacement)
        self._undo.append(functools.partial(_restore, owner, name, before, replacement))

    def undo(self) -> None:
        """Restore everything, in reverse order; a wrapper that others have wrapped stays, without effect."""
        self._is_on = False
        while self._undo:
            self._undo.pop()()


def _method(original: Callable[..., Any], wrapper: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def method(*args: Any, **kwargs: Any) -> Any:
        return wrapper(original, *args, **kwargs)

    @functools.wraps(original)
    async def coroutine_method(*args: Any, **kwargs: Any) -> Any:
        return await wrapper(original, *args, **kwargs)

    return coroutine_method if inspect.iscoroutinefunction(original) else method


def _restore(owner: Any, name: str, before: object, replacement: object) -> None:
    # someone who wrapped our wrapper since keeps his: taking ours from under it would take his away, too
    if vars(owner).get(name) is not replacement:
        return
    if before is _ABSENT:
        delattr(owner, name)
    else:
        setattr(owner, name, before)
