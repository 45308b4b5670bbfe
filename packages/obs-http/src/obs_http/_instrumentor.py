"""For ``opentelemetry-instrument``: what it finds by entry point, and calls with settings of its own."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from obs_core.integration import instrument_once, require, uninstrument

from obs_http._httpx import instrument_httpx, uninstrument_httpx
from obs_http._middleware import RequestTracingMiddleware
from obs_http._patch import Patches
from obs_http._requests import instrument_requests, uninstrument_requests

_NAME = "asgi"


class HttpxInstrumentor:
    """Every httpx client."""

    def instrument(self, **_: object) -> None:
        """Call `instrument_httpx`."""
        instrument_httpx()

    def uninstrument(self, **_: object) -> None:
        """Call `uninstrument_httpx`."""
        uninstrument_httpx()


class RequestsInstrumentor:
    """Every session of requests."""

    def instrument(self, **_: object) -> None:
        """Call `instrument_requests`."""
        instrument_requests()

    def uninstrument(self, **_: object) -> None:
        """Call `uninstrument_requests`."""
        uninstrument_requests()


class ApplicationInstrumentor:
    """Every FastAPI and Starlette application that has not served its first request yet."""

    def instrument(self, **_: object) -> None:
        """Build the middleware around each application's own.

        Raises:
            MissingDependencyError: Starlette is not installed.
        """
        require("starlette", package="obs-http")
        instrument_once(_NAME, _install)

    def uninstrument(self, **_: object) -> None:
        """Leave applications that are built later alone."""
        uninstrument(_NAME)


def _install() -> Callable[[], None]:
    from starlette.applications import Starlette

    patches = Patches()
    patches.wrap(Starlette, "build_middleware_stack", _build)
    if importlib.util.find_spec("fastapi") is not None:
        from fastapi import FastAPI

        patches.wrap(FastAPI, "build_middleware_stack", _build)
    return patches.undo


def _build(build_stack: Callable[[Any], Any], app: Any) -> RequestTracingMiddleware:
    return RequestTracingMiddleware(build_stack(app))
