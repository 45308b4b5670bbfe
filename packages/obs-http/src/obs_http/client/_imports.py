"""Call a function with a module, at once or right after the first import of the module."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from obs_core.integration import call_contained


def is_installed(name: str) -> bool:
    """Whether the module `name` can be imported, without importing the module."""
    return name in sys.modules or find_spec(name) is not None


def when_imported(
    name: str, function: Callable[[ModuleType], None]
) -> Callable[[], None]:
    """Call `function` with the module `name`, at once if imported, or else right after the import.

    An import here would cost services that never use the module, and would break ``httpx2.alias_httpx()``, which
    must come before any import of httpx.

    Returns:
        A function that stops the waiting.
    """
    waiting = _Waiting(name, function)
    if name in sys.modules:
        function(sys.modules[name])
    else:
        sys.meta_path.insert(0, waiting)
    return waiting.stop


class _Waiting(MetaPathFinder):
    """A finder that delegates to the rest of ``sys.meta_path`` and extends the loader by a call of the function."""

    def __init__(self, name: str, function: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._function = function

    def stop(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._name:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((each for each in found if each is not None), None)
        if spec is not None and spec.loader is not None:
            call_contained(
                f"waiting for the import of {name}", self._extend, spec.loader
            )
        return spec

    def _extend(self, loader: Any) -> None:
        loader.exec_module = functools.partial(self._execute, loader.exec_module)

    def _execute(
        self, execute: Callable[[ModuleType], None], module: ModuleType
    ) -> None:
        execute(module)
        # a loader may have other modules too, and a module may be looked for several times
        if module.__name__ == self._name and self in sys.meta_path:
            self.stop()
            call_contained(f"tracing {self._name}", self._function, module)
