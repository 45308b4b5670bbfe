"""Checks of the options of an integration; the messages say the option, the value and the fix."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Iterable

from obs_core._config.validators import error as option_error

__all__ = [
    "check_callable",
    "check_choice",
    "check_names",
    "check_number",
    "check_plain_function",
    "option_error",
]


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Raise `ConfigurationError` unless `value` is one of `choices`."""
    known = list(choices)
    if value not in known:
        raise option_error(name, value, f"use {' or '.join(map(repr, known))}")


def check_names(name: str, value: object, *, example: str) -> tuple[str, ...]:
    """Return the names or globs of `value`; raise `ConfigurationError` unless it is a collection of strings.

    Args:
        name: The option.
        value: A list, tuple or set; a single string is an error, since each of its letters would be a name.
        example: A name for the message, for instance ``"reports.*"``.
    """
    names = (
        tuple(value)
        if isinstance(value, Collection) and not isinstance(value, str)
        else None
    )
    if names is None or not all(isinstance(each, str) for each in names):
        raise option_error(
            name, value, f"give a list of names or globs, for instance [{example!r}]"
        )
    return names


def check_number(
    name: str, value: object, *, at_least: int, unit: str = "", optional: bool = False
) -> None:
    """Raise `ConfigurationError` unless `value` is a finite number from `at_least` on.

    Args:
        name: The option.
        value: An int or a float; a bool is an error.
        at_least: The smallest number allowed.
        unit: For the message, for instance ``"seconds"``. Without a unit the number is a count, and must be whole.
        optional: Whether None is allowed.
    """
    if optional and value is None:
        return
    number = _as_number(value)
    is_right_kind = bool(unit) or isinstance(value, int)
    if number is None or number < at_least or not is_right_kind:
        what = f"a number of {unit}" if unit else "a whole number"
        raise option_error(
            name, value, f"give {what}, {at_least} or more{', or None' * optional}"
        )


def _as_number(value: object) -> float | None:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
    ):
        return None
    return value


def check_callable(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless `value` is None or can be called."""
    if value is not None and not callable(value):
        raise option_error(name, value, "give a function, or None")


def check_plain_function(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless `value` is None or can be called and is no coroutine function."""
    check_callable(name, value)
    if inspect.iscoroutinefunction(value):
        raise option_error(name, value, "give a plain function: nothing awaits it")
