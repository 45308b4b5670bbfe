"""gRPC client and server tracing, sync and aio, on OpenTelemetry."""

from obs_grpc._instrument import (
    instrument_grpc_client,
    instrument_grpc_server,
    uninstrument_grpc_client,
    uninstrument_grpc_server,
)
from obs_grpc._options import EXCLUDED_SERVICES, RpcDetails

__all__ = [
    "EXCLUDED_SERVICES",
    "RpcDetails",
    "instrument_grpc_client",
    "instrument_grpc_server",
    "uninstrument_grpc_client",
    "uninstrument_grpc_server",
]
