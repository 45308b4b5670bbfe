"""How a request ended: the client has left, the handler has raised, or a background task has.

Starlette's ServerErrorMiddleware sends its answer to an exception first and raises the exception after it; outside it, as for
a mounted application's, the response is complete, and its span may have ended, before the exception arrives. While the answer
is being sent the exception is the one being handled, so it is known in time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType

from obs_core.integration import record_error
from opentelemetry.trace import Span, Tracer, set_span_in_context

from obs_http._types import Scope

#: Exceptions that say that the client has gone: Starlette's, and that of uvicorn.
_LEFT = ("ClientDisconnect", "ClientDisconnected", "WebSocketDisconnect")
_ANSWERS = "starlette.middleware.errors"
_BACKGROUND = "starlette.background"


def has_left(error: BaseException) -> bool:
    """Whether `error` says that the client has gone."""
    return type(error).__name__ in _LEFT


def error_being_answered(scope: Scope) -> Exception | None:
    """Return the unhandled exception whose answer is being sent; None: none, or the user's own code handles it."""
    error = sys.exc_info()[1]
    if isinstance(error, Exception) and error.__traceback__ is not None:
        caught_in = error.__traceback__.tb_frame
        if caught_in.f_globals.get("__name__") == _ANSWERS:
            return error
    # a BaseHTTPMiddleware sends from another task; FastAPI's tracing keeps what its applications have raised
    noted = getattr(scope.get("fastapi.telemetry"), "_exceptions", None)
    return noted[-1] if noted and isinstance(noted[-1], Exception) else None


def raised_in_background(error: BaseException) -> bool:
    """Whether `error` comes out of a background task."""
    return any(frame.f_globals.get("__name__") == _BACKGROUND for frame in frames(error))


def record_late(error: Exception, request_span: Span, tracer: Tracer) -> None:
    """Record what came after the response was complete on a span below the request's, for that has ended."""
    span = tracer.start_span("background", set_span_in_context(request_span))
    record_error(span, error)
    span.end()


def frames(error: BaseException) -> Iterator[FrameType]:
    """Yield the frames that `error` has come through, the outermost first."""
    at = error.__traceback__
    while at is not None:
        yield at.tb_frame
        at = at.tb_next
