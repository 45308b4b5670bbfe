"""Contain failures of telemetry: logged at a bounded rate, and never raised to the application."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_LOG_INTERVAL_S = 60.0
_logger = logging.getLogger("obs_core")


class _RateLimit:
    """Lets each message through once a minute. Bounded.

    No lock is taken: a signal handler could find a lock held by the interrupted thread, a forked
    child by a thread of the parent. So two threads that fail at the same moment may both log.
    """

    def __init__(self, max_keys: int = 256) -> None:
        self._last: dict[str, float] = {}
        self._max_keys = max_keys

    def allows(self, key: str) -> bool:
        now = time.monotonic()
        if now - self._last.get(key, -_LOG_INTERVAL_S) < _LOG_INTERVAL_S:
            return False
        if len(self._last) >= self._max_keys:
            self._last.clear()
        self._last[key] = now
        return True


_limit = _RateLimit()
_warned: set[str] = set()


def log_failure(what: str) -> None:
    """Log the exception being handled, with its traceback, at most once a minute for each `what`."""
    if _limit.allows(what):
        _logger.exception(
            "%s failed; the application is not affected (logged at most once a minute)",
            what,
        )


def warn_once(key: str, message: str) -> None:
    """Log `message` as a warning the first time this process says `key`."""
    if key not in _warned:
        _warned.add(key)
        _logger.warning("%s", message)


def call_contained(
    what: str, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> R | None:
    """Call `function`; log an Exception as a failure of `what` and return None.

    For hooks, serializers and other code of the user that telemetry runs. KeyboardInterrupt, SystemExit and Celery's time
    limits are not Exceptions, and pass through.
    """
    try:
        return function(*args, **kwargs)
    except Exception:  # noqa: BLE001 - a hook may raise anything
        log_failure(what)
        return None
