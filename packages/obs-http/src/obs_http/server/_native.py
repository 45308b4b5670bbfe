"""Gaps of FastAPI's own tracing (0.142 and later) that its public interface cannot close.

- The span of a background task has no record of the task's exception.
- A WebSocket client that leaves is an error unless the code is 1000 or 1001; a browser's plain ``close()`` is
  1005, a lost connection 1006. A single FastAPI function decides this, for spans and logs.
- An exception of a Starlette application mounted in a FastAPI application is answered unseen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from obs_core.integration import Patches, instrument_once, record_error, uninstrument
from opentelemetry import trace
from opentelemetry._logs import _internal as logs
from opentelemetry.metrics import _internal as metrics

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


def only_traces(app: Any) -> bool:
    """Whether FastAPI's telemetry of `app` only traces, on the global provider: neither measures nor logs. False if unknown."""
    config = getattr(app, "_telemetry", None)
    if not isinstance(config, dict) or config.get("tracer_provider", app) is not None:
        return False
    measures = config.get("metrics") and (
        config.get("meter_provider") is not None or is_measured()
    )
    logs = config.get("logs") and (
        config.get("logger_provider") is not None or is_logged()
    )
    return not (measures or logs)


def _is_set(module: Any, name: str, variable: str) -> Callable[[], bool]:
    """Return a function that tells whether a global provider was set; the API's getters read the environment each time."""
    if variable in os.environ or not hasattr(module, name):
        return lambda: True
    return lambda: getattr(module, name) is not None


is_measured = _is_set(metrics, "_METER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER")
is_logged = _is_set(logs, "_LOGGER_PROVIDER", "OTEL_PYTHON_LOGGER_PROVIDER")


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
