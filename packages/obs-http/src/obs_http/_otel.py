"""Entry points for ``opentelemetry-instrument``, which passes settings that are ignored."""

from __future__ import annotations

from obs_http.client._instrument import (
    instrument_httpx,
    instrument_requests,
    uninstrument_httpx,
    uninstrument_requests,
)
from obs_http.server._instrument import instrument_fastapi, uninstrument_fastapi


class HttpxInstrumentor:
    """Instruments every httpx client."""

    def instrument(self, **_: object) -> None:
        """Call `instrument_httpx`."""
        instrument_httpx()

    def uninstrument(self, **_: object) -> None:
        """Call `uninstrument_httpx`."""
        uninstrument_httpx()


class RequestsInstrumentor:
    """Instruments every session of requests."""

    def instrument(self, **_: object) -> None:
        """Call `instrument_requests`."""
        instrument_requests()

    def uninstrument(self, **_: object) -> None:
        """Call `uninstrument_requests`."""
        uninstrument_requests()


class ApplicationInstrumentor:
    """Instruments every FastAPI and Starlette application."""

    def instrument(self, **_: object) -> None:
        """Call `instrument_fastapi`."""
        instrument_fastapi()

    def uninstrument(self, **_: object) -> None:
        """Call `uninstrument_fastapi`."""
        uninstrument_fastapi()
