"""Celery beat: each tick is a trace of its own, and says which entry of the schedule was due. Runs in the beat process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from opentelemetry.context import Context, attach, detach, set_value

from obs_celery._publish import BEAT_ENTRY


class Ticks:
    """Wraps the scheduler's public `apply_async`, as a custom scheduler would override it; nothing else tells the entry."""

    def __init__(self) -> None:
        self._wrapped: list[Any] = []

    def wrap(self, scheduler: Any) -> None:
        """Wrap the scheduler of a service that begins."""
        scheduler.apply_async = _rooted(scheduler.apply_async)
        self._wrapped.append(scheduler)

    def restore(self) -> None:
        """Give every scheduler its own `apply_async` back."""
        while self._wrapped:
            vars(self._wrapped.pop()).pop("apply_async", None)


def _rooted(apply_async: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(apply_async)
    def apply_entry(entry: Any, *args: Any, **kwargs: Any) -> Any:
        token = attach(set_value(BEAT_ENTRY, str(entry.name), Context()))
        try:
            return apply_async(entry, *args, **kwargs)
        finally:
            detach(token)

    return apply_entry
