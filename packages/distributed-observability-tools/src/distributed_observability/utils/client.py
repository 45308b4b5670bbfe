"""The HTTP client: httpx, traced by obs-http, which also writes the correlation header."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distributed_observability._optional import deprecated, missing, optional
from distributed_observability.core.config import CorrelationConfig, HTTPClientConfig

if TYPE_CHECKING:
    import httpx

__all__ = ["CorrelatedClient", "instrument_httpx_client", "patch_httpx"]

_instrument_httpx = optional("obs_http:instrument_httpx", "httpx")


class CorrelatedClient:
    """An httpx client whose requests carry the trace and the correlation id.

    Args:
        correlation_manager: Kept for 1.0's callers; a `CorrelationConfig` is used, anything else has no effect.
        client_config: The parts of requests to capture.
        httpx_client: The client to use; None: a new ``httpx.AsyncClient``.

    Raises:
        MissingDependencyError: The extra ``httpx`` is not installed.
    """

    def __init__(
        self,
        correlation_manager: object = None,
        client_config: HTTPClientConfig | None = None,
        httpx_client: httpx.AsyncClient | None = None,
    ) -> None:
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise missing("httpx") from error
        self.client_config: HTTPClientConfig = client_config or HTTPClientConfig()
        self.client: httpx.AsyncClient = httpx_client or httpx.AsyncClient()
        if self.client_config.enable_httpx:
            _instrument_httpx(
                self.client, **_options(correlation_manager, self.client_config)
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    async def __aenter__(self) -> CorrelatedClient:
        await self.client.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.client.__aexit__(*error)


def _options(correlation: object, config: HTTPClientConfig) -> dict[str, Any]:
    return {
        "correlation": correlation
        if isinstance(correlation, CorrelationConfig)
        else None,
        "capture_request_headers": [*config.capture_headers, *config.header_patterns],
        "redact": [name for name in config.redact_headers if name.strip("*? ")],
    }


def instrument_httpx_client(
    client: httpx.AsyncClient | None = None,
    correlation_config: CorrelationConfig | None = None,
) -> CorrelatedClient:
    """Return `client`, or a new client, as a `CorrelatedClient`.

    Raises:
        MissingDependencyError: The extra ``httpx`` is not installed.
    """
    return CorrelatedClient(correlation_config, None, client)


def patch_httpx() -> None:
    """Trace every httpx client; deprecated, use `obs_http.instrument_httpx`.

    Raises:
        MissingDependencyError: The extra ``httpx`` is not installed.
    """
    deprecated("patch_httpx", "obs_http.instrument_httpx")
    _instrument_httpx()
