"""For ``opentelemetry-instrument``: what it finds by entry point, and calls with settings of its own."""

from __future__ import annotations

from obs_http._fastapi import instrument_fastapi, uninstrument_fastapi
from obs_http._httpx import instrument_httpx, uninstrument_httpx
from obs_http._requests import instrument_requests, uninstrument_requests


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
    """Every FastAPI and Starlette application."""

    def instrument(self, **_: object) -> None:
        """Call `instrument_fastapi`."""
        instrument_fastapi()

    def uninstrument(self, **_: object) -> None:
        """Call `uninstrument_fastapi`."""
        uninstrument_fastapi()
