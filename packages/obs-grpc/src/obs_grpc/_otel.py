"""The classes for ``opentelemetry-instrument``."""

from __future__ import annotations

from obs_core.integration import otel_instrumentor

from obs_grpc.client._instrument import instrument_grpc_client, uninstrument_grpc_client
from obs_grpc.server._instrument import instrument_grpc_server, uninstrument_grpc_server

GrpcClientInstrumentor = otel_instrumentor(
    "GrpcClientInstrumentor", instrument_grpc_client, uninstrument_grpc_client
)
GrpcServerInstrumentor = otel_instrumentor(
    "GrpcServerInstrumentor", instrument_grpc_server, uninstrument_grpc_server
)
