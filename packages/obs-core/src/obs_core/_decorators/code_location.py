"""The name and the place in the source of a decorated callable, read once, at decoration."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from opentelemetry.util.types import AttributeValue

from obs_core._decorators.spec import AnyCallable


def without_partial(target: Any) -> Any:
    """Return the function of a `functools.partial`, or `target` itself."""
    while isinstance(target, functools.partial):
        target = target.func
    return target


def named_by(target: AnyCallable) -> Any:
    """Return the object that names `target`: a function, a partial's function, or the ``__call__`` of a class."""
    inner = without_partial(target)
    if hasattr(inner, "__qualname__"):
        return inner
    return type(inner).__call__


def code_attributes(named: Any, name: str) -> dict[str, AttributeValue]:
    """Return ``code.function.name``, ``code.file.path`` and ``code.line.number``."""
    code = getattr(inspect.unwrap(named), "__code__", None)
    if code is None:
        return {"code.function.name": name}
    return {
        "code.function.name": name,
        "code.file.path": code.co_filename,
        "code.line.number": code.co_firstlineno,
    }
