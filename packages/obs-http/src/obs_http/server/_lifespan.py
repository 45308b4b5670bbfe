"""Flush at the application's shutdown: servers then die by a signal, without running `atexit`.

uvicorn restores the signal handlers and raises the signal again after the shutdown:
https://github.com/encode/uvicorn/pull/1600.
"""

from __future__ import annotations

import logging

from obs_core.integration import call_contained, current_manager

from obs_http.server._types import ASGIApp, Message, Receive, Scope, Send

_logger = logging.getLogger("obs_http")


async def run_lifespan(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Run the lifespan of `app`; export finished spans before the server learns of the shutdown."""

    async def flush_then_send(message: Message) -> None:
        if message["type"] in (
            "lifespan.shutdown.complete",
            "lifespan.shutdown.failed",
        ):
            call_contained("flush at shutdown", _flush)
        await send(message)

    await app(scope, receive, flush_then_send)


def _flush() -> None:
    """Flush within `exit_timeout_s`. Blocks the event loop (asyncio or trio), which has no requests left."""
    manager = current_manager()
    if manager is not None and not manager.flush():
        _logger.warning(
            "shutdown: the collector has not taken all spans in time; so far: %s",
            manager.stats(),
        )
