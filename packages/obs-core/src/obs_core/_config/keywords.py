"""Errors for unknown options that name the nearest option."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from obs_core.exceptions import ConfigurationError, UnknownOptionError

T = TypeVar("T")


def explain_unknown_options(cls: type[T]) -> type[T]:
    """Turn the TypeError for an unknown keyword into an error that names the nearest option."""
    original: Callable[..., None] = cls.__init__
    names = list(inspect.signature(original).parameters)[1:]

    @functools.wraps(original)
    def __init__(self: T, *args: Any, **options: Any) -> None:  # noqa: N807 - stands in for the generated one
        if args:
            raise ConfigurationError(
                f"{cls.__name__} takes keyword arguments only, for instance {names[0]}=…"
            )
        for name in options:
            if name not in names:
                raise _unknown_option(cls, name, names)
        original(self, **options)

    cls.__init__ = __init__  # type: ignore[method-assign,assignment]
    return cls


def _unknown_option(cls: type, name: str, names: Sequence[str]) -> UnknownOptionError:
    from difflib import get_close_matches

    hint = f"options are {', '.join(names)}"
    for near in get_close_matches(name, names, n=1):
        hint = f"did you mean {near!r}?"
    return UnknownOptionError(f"{cls.__name__} has no option {name!r}: {hint}")
