"""Contain failures of telemetry: they are logged, at a bounded rate, and never reach the application."""

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
    """Lets one message a key through a minute; bounded.

    Without a lock, which a signal handler could find taken by the thread that it interrupts, or a forked child by one that
    it does not have; so two threads that fail at the same moment may say it twice.
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
    """Log the exception being handled, with its traceback: a line a minute for each `what`, never raised further."""
    if _limit.allows(what):
        _logger.exception(
            "%s failed; the application is not affected (logged at most once a minute)", what
        )


def warn_once(key: str, message: str) -> None:
    """Log `message` as a warning the first time this process says `key`."""
    if key not in _warned:
        _warned.add(key)
        _logger.warning("%s", message)


def call_contained(
    what: str, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> R | None:
    """Call `function`; an Exception is logged as a failure of `what` and answered with None.

    For hooks, serializers and everything else that is the user's but runs in telemetry's name. BaseExceptions that are
    no Exception (KeyboardInterrupt, SystemExit, Celery's time limits) pass through.
    """
    try:
        return function(*args, **kwargs)
    except Exception:  # noqa: BLE001 - a hook may raise anything
        log_failure(what)
        return None
