"""The bootstrap: obs-core's, with the middleware that takes 1.0's options."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import obs_core
from obs_core import TracingConfig, TracingManager

from distributed_observability._optional import deprecated, missing
from distributed_observability.core.config import FastAPIConfig
from distributed_observability.framework.fastapi import (
    middleware_options,
    request_tracing_middleware,
)

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["TracingConfig", "TracingManager", "instrument_fastapi_app", "setup_tracing"]


class LegacySetup(NamedTuple):
    """The result of `setup_tracing`: manager, and middleware in any form that ``add_middleware`` takes."""

    manager: TracingManager
    middleware_config: Any


def setup_tracing(
    config: TracingConfig,
    app: FastAPI | None = None,
    fastapi_config: FastAPIConfig | None = None,
) -> LegacySetup:
    """Set up tracing for SigNoz and trace `app`, if given: see `obs_core.setup_tracing`.

    Spans are exported with the attributes that SigNoz's panes read, unless ``TracingConfig(backend="none")`` or
    ``OBS_CORE_BACKEND`` says otherwise.

    Args:
        config: The settings.
        app: A FastAPI application to trace; the middleware may be added too, a request has a single span.
        fastapi_config: The parts of requests to capture.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    manager, middleware = obs_core.setup_tracing(_for_signoz(config))
    if app is not None:
        instrument_fastapi_app(app, config, fastapi_config)
    legacy = middleware._replace(
        cls=request_tracing_middleware, kwargs={"tracing_config": config}
    )
    return LegacySetup(manager, legacy)


def _for_signoz(config: TracingConfig) -> TracingConfig:
    """Return `config` for SigNoz, unless code or environment name the backend."""
    if config.backend is None and not os.environ.get("OBS_CORE_BACKEND", "").strip():
        return replace(config, backend="signoz")
    return config


def instrument_fastapi_app(
    app: FastAPI,
    config: TracingConfig | None = None,
    fastapi_config: FastAPIConfig | None = None,
) -> bool:
    """Trace the requests of `app`; deprecated, use `obs_http.instrument_fastapi`.

    Returns:
        True.

    Raises:
        MissingDependencyError: The extra ``fastapi`` is not installed.
    """
    deprecated("instrument_fastapi_app", "obs_http.instrument_fastapi")
    try:
        from obs_http import instrument_fastapi
    except ModuleNotFoundError as error:
        raise missing("fastapi") from error
    instrument_fastapi(app, **middleware_options(config, fastapi_config))
    return True
