"""Instrument FastAPI and Starlette applications, all or a single one, and undo that."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from obs_core import CorrelationConfig
from obs_core.integration import (
    InstrumentationHandle,
    instrument_once,
    uninstrument,
)
from opentelemetry import trace
from opentelemetry.metrics import MeterProvider

from obs_http.server._identity import Identify
from obs_http.server._middleware import RequestTracingMiddleware
from obs_http.server._options import OnEnd, OnStart, ServerOptions
from obs_http.server._patches import NAME, add_to, add_to_all, check_application

if TYPE_CHECKING:
    from starlette.applications import Starlette


def instrument_fastapi(
    app: Starlette | None = None,
    *,
    service_name: str | None = None,
    correlation: CorrelationConfig | None = None,
    redact: Sequence[str] = (),
    capture_request_headers: Sequence[str] | None = None,
    capture_response_headers: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    identify: Identify | Literal["aws_alb"] | None = None,
    identity_hash_key: str | None = None,
    identity_in_baggage: bool = False,
    identity_from_baggage: bool = False,
    trust_remote_context: bool = True,
    response_headers: bool = True,
    traceresponse: bool = False,
    legacy_attributes: bool = False,
    on_start: OnStart | None = None,
    on_end: OnEnd | None = None,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> InstrumentationHandle:
    """Trace the requests of `app`, or of every FastAPI and Starlette application.

    The options are those of `RequestTracingMiddleware`. Works also after an application has served requests.
    Equals ``app.add_middleware(RequestTracingMiddleware, …)``, but outermost: around all other middleware and
    around the answer to an unhandled exception. Without `app`, an application with its own
    `RequestTracingMiddleware` keeps that middleware.

    Returns:
        A handle with ``.uninstrument()``; a second call returns the same handle.

    Raises:
        MissingDependencyError: Starlette is not installed.
        ConfigurationError: `app` is not a FastAPI or Starlette application, or an option is wrong.
        AlreadyConfiguredError: Already instrumented, with other options.
    """
    check_application(app)
    options = ServerOptions(
        service_name=service_name,
        correlation=correlation,
        redact=redact,
        capture_request_headers=capture_request_headers,
        capture_response_headers=capture_response_headers,
        exclude=exclude,
        identify=identify,
        identity_hash_key=identity_hash_key,
        identity_in_baggage=identity_in_baggage,
        identity_from_baggage=identity_from_baggage,
        trust_remote_context=trust_remote_context,
        response_headers=response_headers,
        traceresponse=traceresponse,
        legacy_attributes=legacy_attributes,
        on_start=on_start,
        on_end=on_end,
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
    )
    build = functools.partial(RequestTracingMiddleware, **vars(options))
    install = (
        functools.partial(add_to_all, build)
        if app is None
        else functools.partial(add_to, app, build)
    )
    return instrument_once(
        NAME, install, target=app, options=options, defaults=ServerOptions()
    )


def uninstrument_fastapi(app: Starlette | None = None) -> None:
    """Undo `instrument_fastapi` for the same `app`; requests in progress are traced to their end."""
    uninstrument(NAME, target=app)
