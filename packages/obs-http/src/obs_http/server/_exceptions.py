"""The meaning of an exception: the client has left, the handler raised, or a background task raised.

Starlette's ServerErrorMiddleware sends its answer to an exception first, then raises the exception. Outside
that middleware, as for a mounted application, the response is complete, and its span may have ended, before
the exception arrives. While the answer is being sent, `sys.exc_info` has the exception in time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType

from obs_core.integration import record_error
from opentelemetry.trace import Span, Tracer, set_span_in_context

from obs_http.server._types import Scope

#: Names of exceptions for a client that has left: Starlette's and uvicorn's.
_LEFT = ("ClientDisconnect", "ClientDisconnected", "WebSocketDisconnect")
_ANSWERS = "starlette.middleware.errors"
_BACKGROUND = "starlette.background"


def has_left(error: BaseException) -> bool:
    """Whether `error` means that the client has left."""
    return type(error).__name__ in _LEFT


def error_being_answered(scope: Scope) -> Exception | None:
    """Return the unhandled exception being answered; None also if the user's own code handles an exception."""
    error = sys.exc_info()[1]
    if isinstance(error, Exception) and error.__traceback__ is not None:
        caught_in = error.__traceback__.tb_frame
        if caught_in.f_globals.get("__name__") == _ANSWERS:
            return error
    # a BaseHTTPMiddleware sends from another task; FastAPI's tracing keeps the exceptions
    noted = getattr(scope.get("fastapi.telemetry"), "_exceptions", None)
    if noted and isinstance(noted[-1], Exception):
        return noted[-1]
    return None


def raised_in_background(error: BaseException) -> bool:
    """Whether `error` was raised in a background task."""
    return any(
        frame.f_globals.get("__name__") == _BACKGROUND for frame in frames(error)
    )


def record_late(error: Exception, request_span: Span, tracer: Tracer) -> None:
    """Record an exception after the complete response on a child span, because the request's span has ended."""
    span = tracer.start_span("background", set_span_in_context(request_span))
    record_error(span, error)
    span.end()


def frames(error: BaseException) -> Iterator[FrameType]:
    """Yield the frames of the traceback of `error`, outermost first."""
    at = error.__traceback__
    while at is not None:
        yield at.tb_frame
        at = at.tb_next
