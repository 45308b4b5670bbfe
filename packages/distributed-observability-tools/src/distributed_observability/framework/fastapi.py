"""The request middleware: obs-http's, taking the options of 1.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from obs_core import TracingConfig, get_correlation_id
from obs_core.integration import current_manager
from opentelemetry import trace

from distributed_observability._optional import missing
from distributed_observability.core.config import FastAPIConfig

__all__ = ["RequestTracingMiddleware", "get_current_correlation_id"]

get_current_correlation_id = get_correlation_id


def middleware_options(
    config: TracingConfig | None, fastapi_config: FastAPIConfig | None
) -> dict[str, Any]:
    """Return 1.0's configuration as the options of obs-http's middleware."""
    captured = fastapi_config or FastAPIConfig()
    manager = current_manager()
    return {
        "service_name": config.service_name
        if config
        else manager.settings.service_name
        if manager
        else None,
        "correlation": config.correlation if config else None,
        "redact": [name for name in captured.redact_headers if name.strip("*? ")],
        "capture_request_headers": [
            *captured.capture_request_headers,
            *captured.header_patterns,
        ],
        "legacy_attributes": True,
    }


class RequestTracingMiddleware:
    """Trace the requests of an ASGI application: see `obs_http.RequestTracingMiddleware`.

    Args:
        app: The application to wrap.
        tracing_config: The settings, or the mapping that ``add_middleware(*middleware_config)`` hands over.
        fastapi_config: The parts of requests to capture.
        custom_span_attributes: Set on each request's span.

    Raises:
        MissingDependencyError: The extra ``fastapi`` is not installed.
    """

    def __init__(
        self,
        app: Any,
        tracing_config: TracingConfig | Mapping[str, Any] | None = None,
        fastapi_config: FastAPIConfig | None = None,
        custom_span_attributes: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(tracing_config, Mapping):
            self.__init__(app, **tracing_config)  # type: ignore[misc] # the same options, handed over in one piece
            return
        try:
            from obs_http import RequestTracingMiddleware as Middleware
        except ModuleNotFoundError as error:
            raise missing("fastapi") from error
        inner = (
            _Attributes(app, custom_span_attributes) if custom_span_attributes else app
        )
        enabled = fastapi_config is None or fastapi_config.enable_middleware
        self.app: Any = (
            Middleware(inner, **middleware_options(tracing_config, fastapi_config))
            if enabled
            else inner
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle an ASGI scope."""
        await self.app(scope, receive, send)


def request_tracing_middleware(*given: Any, **more: Any) -> RequestTracingMiddleware:
    """Make the middleware from Starlette's arguments.

    Before Starlette 0.45 ``app`` is passed by name, and the options come first.
    """
    first = (more.pop("app"),) if "app" in more else ()
    return RequestTracingMiddleware(*first, *given, **more)


class _Attributes:
    """Sets the same attributes on the span of every request."""

    def __init__(self, app: Any, attributes: Mapping[str, Any]) -> None:
        self._app = app
        self._attributes = dict(attributes)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            trace.get_current_span().set_attributes(self._attributes)
        await self._app(scope, receive, send)
