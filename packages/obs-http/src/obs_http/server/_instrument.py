"""Add the middleware to existing applications, also after their first request, and remove the middleware."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakSet, ref

from obs_core import CorrelationConfig
from obs_core.exceptions import ConfigurationError
from obs_core.integration import (
    InstrumentationHandle,
    Patches,
    instrument_once,
    require,
    uninstrument,
    warn_unsupported_version,
)
from opentelemetry import trace
from opentelemetry.metrics import MeterProvider

from obs_http.server._entry import (
    Guard,
    guard_of,
    leave_edge,
    leave_every_edge,
    stand_at_edge,
    stand_at_every_edge,
)
from obs_http.server._identity import Identify
from obs_http.server._middleware import RequestTracingMiddleware
from obs_http.server._types import Receive, Scope, Send

if TYPE_CHECKING:
    from starlette.applications import Starlette

_NAME = "fastapi"
_UNDO = "_obs_http_undo"
_OURS = ("RequestTracingMiddleware", "request_tracing_middleware")
Build = Callable[[Any], RequestTracingMiddleware]


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
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> InstrumentationHandle:
    """Trace the requests of `app`, or of every FastAPI and Starlette application.

    Works also after an application has served requests. Equals
    ``app.add_middleware(RequestTracingMiddleware, …)``, but outermost: around all other middleware and around the
    answer to an unhandled exception. Without `app`, an application with its own `RequestTracingMiddleware` keeps
    that middleware.

    Args:
        app: The application; None: all.
        service_name: For the response header ``X-Service-Name``. Default: the service name of the set-up.
        correlation: Reading and writing of correlation ids. Default: the set-up's.
        redact: More name globs whose values are masked, in addition to the built-in globs and the set-up's.
        capture_request_headers: Names and globs of request headers to record on the span; secrets are masked.
            Default: ``OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST``.
        capture_response_headers: The same for response headers.
        exclude: Whole paths and globs that are not traced. Default: the usual health, readiness and
            metrics paths, and the URLs of ``OTEL_PYTHON_FASTAPI_EXCLUDED_URLS`` or
            ``OTEL_PYTHON_EXCLUDED_URLS``.
        identify: Names the user of a request: see `RequestTracingMiddleware`.
        identity_hash_key: Record ``user.hash``, HMAC-SHA-256 under this key, in place of ``user.id``.
        identity_in_baggage: Send the identity to called services, as baggage. Default False.
        identity_from_baggage: Trust the identity in the caller's baggage: see `RequestTracingMiddleware`. Default
            False.
        trust_remote_context: Continue the caller's trace. Default True.
        response_headers: Set ``X-Correlation-ID``, ``X-Service-Name`` and ``X-Processing-Time`` (s). Default
            True.
        traceresponse: Set the W3C ``traceresponse`` header. Default False.
        legacy_attributes: Also record the correlation id as distributed-observability-tools 1.0 did. Default
            False.
        tracer_provider: Default: the global provider.
        meter_provider: For ``http.server.request.duration``. Default: the global provider; without a provider,
            nothing is measured.

    Returns:
        A handle with ``.uninstrument()``; a second call returns the same handle.

    Raises:
        MissingDependencyError: Starlette is not installed.
        ConfigurationError: `app` is not a FastAPI or Starlette application, or an option is wrong.
        AlreadyConfiguredError: Already instrumented, with other options.
    """
    require("starlette", package="obs-http")
    from starlette.applications import Starlette

    for library in ("starlette", "fastapi"):
        warn_unsupported_version("obs-http", library)
    if app is not None and not isinstance(app, Starlette):
        raise ConfigurationError(
            f"instrument_fastapi takes a FastAPI or Starlette application, not {app!r}; "
            "without one, all are traced"
        )
    options: dict[str, Any] = {
        "service_name": service_name,
        "correlation": correlation,
        "redact": redact,
        "capture_request_headers": capture_request_headers,
        "capture_response_headers": capture_response_headers,
        "exclude": exclude,
        "identify": identify,
        "identity_hash_key": identity_hash_key,
        "identity_in_baggage": identity_in_baggage,
        "identity_from_baggage": identity_from_baggage,
        "trust_remote_context": trust_remote_context,
        "response_headers": response_headers,
        "traceresponse": traceresponse,
        "legacy_attributes": legacy_attributes,
        "tracer_provider": tracer_provider,
        "meter_provider": meter_provider,
    }
    build = functools.partial(RequestTracingMiddleware, **options)
    install = functools.partial(_install_everywhere, build)
    if app is not None:
        install = functools.partial(_install, app, build)
    return instrument_once(
        _NAME, install, target=app, options=options, defaults=instrument_fastapi.__kwdefaults__
    )


def uninstrument_fastapi(app: Starlette | None = None) -> None:
    """Undo `instrument_fastapi` for the same `app`; requests in progress are traced to their end."""
    uninstrument(_NAME, target=app)


def _install_everywhere(build: Build) -> Callable[[], None]:
    build(_no_application)  # raises now if an option is wrong
    adopted: WeakSet[Starlette] = WeakSet()
    adopt = functools.partial(_adopt, adopted, build)
    classes = _application_classes()
    stand_at_every_edge(classes, adopt)

    def undo() -> None:
        leave_every_edge(classes, adopt)
        for app in list(adopted):
            uninstrument(_NAME, target=app)

    return undo


def _application_classes() -> list[type[Any]]:
    from starlette.applications import Starlette

    if importlib.util.find_spec("fastapi") is None:
        return [Starlette]
    from fastapi.applications import FastAPI  # contrib replaces `fastapi.FastAPI`

    return [Starlette, FastAPI]


async def _no_application(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError


def _adopt(adopted: WeakSet[Starlette], build: Build, app: Starlette) -> Guard | None:
    """Instrument `app` at its first message, unless its own code has added the middleware."""
    if any(getattr(entry.cls, "__name__", "") in _OURS for entry in app.user_middleware):
        return None
    adopted.add(app)
    instrument_once(_NAME, functools.partial(_install, app, build), target=app)
    return guard_of(app)


def _install(app: Starlette, build: Build) -> Callable[[], None]:
    middleware = build(app.middleware_stack)  # also raises now if an option is wrong
    patches = Patches()
    patches.wrap(app, "build_middleware_stack", functools.partial(_around, middleware))
    if app.middleware_stack is not None:
        app.middleware_stack = middleware
    stand_at_edge(app, middleware)
    # the registry keeps the undo function, which must not keep the application alive
    setattr(app, _UNDO, functools.partial(_remove, app, middleware, patches))
    return functools.partial(_undo, ref(app))


def _undo(target: ref[Starlette]) -> None:
    app = target()
    if app is not None:
        vars(app).pop(_UNDO)()


def _around(
    middleware: RequestTracingMiddleware, build_stack: Callable[[], Any]
) -> RequestTracingMiddleware:
    middleware.app = build_stack()
    return middleware


def _remove(app: Starlette, middleware: RequestTracingMiddleware, patches: Patches) -> None:
    patches.undo()
    leave_edge(app, middleware)
    if app.middleware_stack is middleware:
        app.middleware_stack = middleware.app
    outer: Any = app.middleware_stack
    while outer is not None and getattr(outer, "app", None) is not middleware:
        outer = getattr(outer, "app", None)
    if outer is not None:
        outer.app = middleware.app
