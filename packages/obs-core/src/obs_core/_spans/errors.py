"""Record the errors of the application on spans: status, ``error.type``, exception event."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from opentelemetry.trace import Span, Status, StatusCode
from opentelemetry.util.types import Attributes

from obs_core._safety.containment import call_contained
from obs_core._safety.text import exportable


def error_type(error: BaseException | type[BaseException]) -> str:
    """Return the fully qualified class name for the attribute ``error.type``; builtins go without their module."""
    cls = error if isinstance(error, type) else type(error)
    return (
        cls.__qualname__
        if cls.__module__ == "builtins"
        else f"{cls.__module__}.{cls.__qualname__}"
    )


def error_message(error: BaseException) -> str:
    """Return ``str(error)`` as text that has UTF-8, also where the exception's own ``__str__`` raises."""
    try:
        return exportable(str(error))
    except Exception as broken:  # noqa: BLE001 - the user's __str__ may raise anything
        return f"<{error_type(error)}: __str__ raised {error_type(broken)}>"


Scrub = Callable[[str], str]


def record_error(
    span: Span,
    error: BaseException,
    *,
    timestamp: int | None = None,
    scrub: Scrub | None = None,
) -> None:
    """Mark `span` as failed by `error`: status ERROR with the message, ``error.type``, and an ``exception`` event.

    Never raises. A span that does not record is left alone.

    Args:
        span: The failed span.
        error: The exception.
        timestamp: Nanoseconds since the epoch. Default: now.
        scrub: Returns message and stack trace fit to be exported, for errors that quote secrets (a client's whole URL).
    """
    if span.is_recording():
        record_exception_event(span, error, timestamp=timestamp, scrub=scrub)
        span.set_attribute("error.type", error_type(error))
        span.set_status(
            Status(StatusCode.ERROR, _scrubbed(scrub, error_message(error)))
        )


def fail(span: Span, error_type: str, description: str | None = None) -> None:
    """Mark `span` as failed without an ``exception`` event, for an outcome without an exception of the application.

    Args:
        span: The failed span, still open.
        error_type: ``error.type``: a code of few values, or an exception's class name.
        description: The status's description, if any.
    """
    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR, description))


def record_exception_event(
    span: Span,
    error: BaseException,
    attributes: Attributes = None,
    timestamp: int | None = None,
    scrub: Scrub | None = None,
) -> None:
    """Add the ``exception`` event of `error`, with more `attributes`; the span's status stays.

    Only the stable attributes are set (``exception.type``, ``.message``, ``.stacktrace``): ``exception.escaped``, which the
    SDK's `record_exception` still adds, is deprecated. Never raises.
    """
    own = exception_attributes(error)
    for name in ("exception.message", "exception.stacktrace"):
        own[name] = _scrubbed(scrub, own[name])
    span.add_event("exception", {**own, **(attributes or {})}, timestamp)


def exception_attributes(error: BaseException) -> dict[str, str]:
    """Return ``exception.type``, ``.message`` and ``.stacktrace``. Never raises."""
    try:
        stack = exportable(
            "".join(traceback.format_exception(type(error), error, error.__traceback__))
        )
    except Exception as broken:  # noqa: BLE001 - formatting calls the user's __str__ and __repr__
        stack = f"<traceback unavailable: {error_type(broken)}>"
    return {
        "exception.type": error_type(error),
        "exception.message": error_message(error),
        "exception.stacktrace": stack,
    }


def _scrubbed(scrub: Scrub | None, text: str) -> str:
    return (
        text if scrub is None else call_contained("scrub", scrub, text) or "[REDACTED]"
    )
