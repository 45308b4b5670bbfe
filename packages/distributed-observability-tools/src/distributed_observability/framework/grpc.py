"""gRPC: obs-grpc's."""

from collections.abc import Callable
from typing import Any

from distributed_observability._optional import optional

__all__ = ["instrument_grpc_client", "instrument_grpc_server"]

instrument_grpc_client: Callable[..., Any] = optional(
    "obs_grpc:instrument_grpc_client", "grpc"
)
instrument_grpc_server: Callable[..., Any] = optional(
    "obs_grpc:instrument_grpc_server", "grpc"
)
