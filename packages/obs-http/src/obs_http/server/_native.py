"""Gaps of FastAPI's own tracing (0.142 and later) that its public interface cannot close.

- The span of a background task has no record of the task's exception.
- A WebSocket client that leaves is an error unless the code is 1000 or 1001; a browser's plain ``close()`` is
  1005, a lost connection 1006. A single FastAPI function decides this, for spans and logs.
- An exception of a Starlette application mounted in a FastAPI application is answered unseen.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from obs_core.integration import Patches, instrument_once, record_error, uninstrument
from opentelemetry import trace

from obs_http.server._exceptions import frames, has_left
from obs_http.server._types import Scope

TRACING = "fastapi.telemetry"
_NAME = "fastapi-tracing"
_JUDGE = "_normal_websocket_disconnect"
_TASK_SPAN = "fastapi.background_task"


def is_native(cls: type[Any]) -> bool:
    """Whether applications of this class trace themselves."""
    return TRACING in sys.modules and issubclass(
        cls, sys.modules["fastapi.applications"].FastAPI
    )


def complete_native_tracing() -> None:
    """Close the gaps of FastAPI's tracing; a second call does nothing."""
    instrument_once(_NAME, _install)


def leave_native_tracing() -> None:
    """Undo `complete_native_tracing`."""
    uninstrument(_NAME)


def _install() -> Callable[[], None]:
    from starlette.background import BackgroundTask

    patches = Patches()
    patches.wrap(BackgroundTask, "__call__", _run)
    for name in (f"{TRACING}._api", f"{TRACING}._asgi"):
        module = sys.modules.get(name)
        if module is not None and hasattr(module, _JUDGE):
            patches.replace(module, _JUDGE, has_left)
    return patches.undo


async def _run(task: Callable[..., Awaitable[None]], *args: Any) -> None:
    if getattr(trace.get_current_span(), "name", None) == _TASK_SPAN:
        await _run_recorded(task, *args)
    else:
        await task(*args)


async def _run_recorded(task: Callable[..., Awaitable[None]], *args: Any) -> None:
    try:
        await task(*args)
    except Exception as error:
        record_error(trace.get_current_span(), error)
        raise


def is_on_task_span(error: BaseException) -> bool:
    """Whether FastAPI's span of the background task that raised `error` has a record of `error`."""
    return any(frame.f_code is _run_recorded.__code__ for frame in frames(error))


def note_natively(scope: Scope, error: Exception) -> None:
    """Report an exception answered by an inner application to FastAPI's spans, metrics and logs."""
    note = getattr(sys.modules.get(f"{TRACING}._asgi"), "_exception", None)
    if note is not None and scope.get(TRACING) is not None:
        note(scope=scope, exc=error)
