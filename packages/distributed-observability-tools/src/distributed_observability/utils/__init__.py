"""The HTTP client, under the names of 1.0."""

from distributed_observability.utils.client import (
    CorrelatedClient,
    instrument_httpx_client,
    patch_httpx,
)

__all__ = ["CorrelatedClient", "instrument_httpx_client", "patch_httpx"]
