"""Trace FastAPI, Starlette and any ASGI application, and the HTTP clients httpx and requests, on OpenTelemetry."""

from obs_http._exclusion import DEFAULT_EXCLUDED_PATHS
from obs_http._fastapi import instrument_fastapi, uninstrument_fastapi
from obs_http._httpx import instrument_httpx, uninstrument_httpx
from obs_http._identity import Identity
from obs_http._middleware import RequestTracingMiddleware
from obs_http._requests import instrument_requests, uninstrument_requests

__all__ = [
    "DEFAULT_EXCLUDED_PATHS",
    "Identity",
    "RequestTracingMiddleware",
    "instrument_fastapi",
    "instrument_httpx",
    "instrument_requests",
    "uninstrument_fastapi",
    "uninstrument_httpx",
    "uninstrument_requests",
]
