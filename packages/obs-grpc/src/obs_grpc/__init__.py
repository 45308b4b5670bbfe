"""gRPC client and server tracing, sync and aio, on OpenTelemetry."""

from obs_grpc._options import DEFAULT_EXCLUDE, RpcDetails
from obs_grpc.client._instrument import instrument_grpc_client, uninstrument_grpc_client
from obs_grpc.server._instrument import instrument_grpc_server, uninstrument_grpc_server

__all__ = [
    "DEFAULT_EXCLUDE",
    "RpcDetails",
    "instrument_grpc_client",
    "instrument_grpc_server",
    "uninstrument_grpc_client",
    "uninstrument_grpc_server",
]
