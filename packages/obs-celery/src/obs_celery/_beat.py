"""Celery beat: each tick begins a trace, whose first span names the schedule's entry. Runs in the beat process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.context import Context, attach, detach, set_value

from obs_celery._publish import BEAT_ENTRY


def apply_entry(
    apply_async: Callable[..., Any], entry: Any, *args: Any, **kwargs: Any
) -> Any:
    """Call a scheduler's `apply_async` outside any trace, with the name of the entry that is due.

    Custom schedulers override the same public method; no signal names the entry.
    """
    token = attach(set_value(BEAT_ENTRY, str(entry.name), Context()))
    try:
        return apply_async(entry, *args, **kwargs)
    finally:
        detach(token)
