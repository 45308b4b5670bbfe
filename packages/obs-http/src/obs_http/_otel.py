"""The classes that ``opentelemetry-instrument`` calls; where contrib's run too, each call is traced once."""

from obs_core.integration import otel_instrumentor

from obs_http.client._instrument import (
    instrument_httpx,
    instrument_requests,
    uninstrument_httpx,
    uninstrument_requests,
)
from obs_http.server._instrument import instrument_fastapi, uninstrument_fastapi

ApplicationInstrumentor = otel_instrumentor(
    "ApplicationInstrumentor", instrument_fastapi, uninstrument_fastapi
)
HttpxInstrumentor = otel_instrumentor(
    "HttpxInstrumentor", instrument_httpx, uninstrument_httpx
)
RequestsInstrumentor = otel_instrumentor(
    "RequestsInstrumentor", instrument_requests, uninstrument_requests
)
