"""For ``opentelemetry-instrument``: what its entry points load, instantiate and call."""

from __future__ import annotations

from typing import Any

from obs_grpc._instrument import (
    instrument_clients_automatically,
    instrument_servers_automatically,
    uninstrument_grpc_client,
    uninstrument_grpc_server,
)


class GrpcClient:
    """Instruments all channels."""

    def instrument(self, **_: Any) -> None:
        """Trace every channel that is created from now on."""
        instrument_clients_automatically()

    def uninstrument(self, **_: Any) -> None:
        """Take it back."""
        uninstrument_grpc_client()


class GrpcServer:
    """Instruments all servers."""

    def instrument(self, **_: Any) -> None:
        """Trace every server that is created from now on."""
        instrument_servers_automatically()

    def uninstrument(self, **_: Any) -> None:
        """Take it back."""
        uninstrument_grpc_server()
