"""Let every logger's records go to the handler that exports.

The handler is called by `logging.Logger.callHandlers`, and is not on the root logger, where it would change what the program
does: `logging.basicConfig` does nothing once the root logger has a handler, warnings no longer go to stderr by the handler of
last resort, and Celery, `dictConfig` and ``basicConfig(force=True)`` would take it off. It would also miss the loggers that
do not propagate, as uvicorn's, which log the exceptions of requests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from obs_core._integrations.patches import Patches

_MODULES = ("opentelemetry.sdk._logs", "opentelemetry.instrumentation.logging")


def attach(handler: logging.Handler) -> Callable[[], None]:
    """Give `handler` the records of all loggers; return what takes it off again."""

    def call_handlers(
        original: Callable[[logging.Logger, logging.LogRecord], None],
        logger: logging.Logger,
        record: logging.LogRecord,
    ) -> None:
        if record.levelno >= handler.level:
            handler.handle(record)
        original(logger, record)

    patches = Patches()
    patches.wrap(logging.Logger, "callHandlers", call_handlers)
    return patches.undo


def other_exporter() -> str | None:
    """Return the handler on the root logger that exports records to OTLP already, or None."""
    for handler in logging.root.handlers:
        kind = type(handler)
        if kind.__module__.startswith(_MODULES):
            return f"{kind.__module__}.{kind.__qualname__}"
    return None
