"""For ``opentelemetry-instrument``: what its entry points load, instantiate and call."""

from __future__ import annotations

from typing import Any

from obs_grpc._instrument import (
    instrument_grpc_client,
    instrument_grpc_server,
    uninstrument_grpc_client,
    uninstrument_grpc_server,
)


class GrpcClient:
    """Instruments all channels."""

    def instrument(self, **_: Any) -> None:
        """Trace every channel that is created from now on."""
        instrument_grpc_client()

    def uninstrument(self, **_: Any) -> None:
        """Take it back."""
        uninstrument_grpc_client()


class GrpcServer:
    """Instruments all servers."""

    def instrument(self, **_: Any) -> None:
        """Trace every server that is created from now on."""
        instrument_grpc_server()

    def uninstrument(self, **_: Any) -> None:
        """Take it back."""
        uninstrument_grpc_server()
