"""Waiting with a deadline, for tests of threads and of other processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_INTERVAL_S = 0.005


def wait_until(
    condition: Callable[[], T],
    timeout_s: float = 30.0,
    *,
    message: str | Callable[[], str] = "the condition does not hold",
) -> T:
    """Call `condition` until it returns a true value; return that value.

    Args:
        condition: Called every 5 ms; an exception passes through.
        timeout_s: Longest wait, in seconds. Default 30.
        message: For the failure: a text, or a function that describes the state at the end.

    Raises:
        AssertionError: Not within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() >= deadline:
            if not isinstance(message, str):
                message = message()
            raise AssertionError(f"after {timeout_s:g} s: {message}")
        time.sleep(_POLL_INTERVAL_S)
    return found
