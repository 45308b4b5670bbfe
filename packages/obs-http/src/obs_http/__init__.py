"""Trace FastAPI, Starlette and any ASGI application, and the HTTP clients httpx and requests, on OpenTelemetry."""

from obs_http.client._instrument import (
    instrument_httpx,
    instrument_requests,
    uninstrument_httpx,
    uninstrument_requests,
)
from obs_http.server._exclusion import DEFAULT_EXCLUDE
from obs_http.server._identity import Identity
from obs_http.server._instrument import instrument_fastapi, uninstrument_fastapi
from obs_http.server._middleware import RequestTracingMiddleware

__all__ = [
    "DEFAULT_EXCLUDE",
    "Identity",
    "RequestTracingMiddleware",
    "instrument_fastapi",
    "instrument_httpx",
    "instrument_requests",
    "uninstrument_fastapi",
    "uninstrument_httpx",
    "uninstrument_requests",
]
