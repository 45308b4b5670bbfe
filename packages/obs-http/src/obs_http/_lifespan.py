"""Flush when the application shuts down: servers then die by the signal that stopped them, and `atexit` never runs.

uvicorn restores the signal handlers and raises the signal again after the shutdown:
https://github.com/encode/uvicorn/pull/1600.
"""

from __future__ import annotations

import logging

from obs_core.integration import call_contained, current_manager

from obs_http._types import ASGIApp, Message, Receive, Scope, Send

_logger = logging.getLogger("obs_http")


async def run_lifespan(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass the lifespan through to `app`; when it has shut down, export what is finished before the server learns of it."""

    async def flush_then_send(message: Message) -> None:
        if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            call_contained("flush at shutdown", _flush)
        await send(message)

    await app(scope, receive, flush_then_send)


def _flush() -> None:
    """Flush within `exit_timeout_s`. Blocks the event loop, which has no request left and may be asyncio's or trio's."""
    manager = current_manager()
    if manager is not None and not manager.flush():
        _logger.warning(
            "shutdown: the collector has not taken all spans in time; so far: %s", manager.stats()
        )
