"""httpx, sync and async: every client or a single client, with any transport.

Every request passes ``_send_single_request``, on all transports (network, ASGI, WSGI, mock, custom), each
redirect and each authentication round included. Contrib wraps the network transports' ``handle_request``, and
other transports only of a client passed to contrib
(https://github.com/open-telemetry/opentelemetry-python-contrib/issues/1742).
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from obs_core import CorrelationConfig
from obs_core.exceptions import ConfigurationError
from obs_core.integration import (
    InstrumentationHandle,
    Patches,
    call_contained,
    instrument_once,
    require,
    uninstrument,
    warn_if_contrib_is_active,
    warn_unsupported_version,
)
from opentelemetry import trace
from opentelemetry.metrics import MeterProvider

from obs_http.client._hooks import OnEnd, OnStart
from obs_http.client._request import Call, Hop, Target, current_call
from obs_http.client._tracer import ClientTracer

if TYPE_CHECKING:
    import httpx

_NAME = "httpx"
_ONE_REQUEST = "_send_single_request"
_CONTRIB = "opentelemetry.instrumentation.httpx:HTTPXClientInstrumentor"


def instrument_httpx(
    client: httpx.Client | httpx.AsyncClient | None = None,
    *,
    on_start: OnStart | None = None,
    on_end: OnEnd | None = None,
    capture_request_headers: Sequence[str] | None = None,
    capture_response_headers: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    propagate_to: Sequence[str] = (),
    redact: Sequence[str] = (),
    correlation: CorrelationConfig | None = None,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> InstrumentationHandle:
    """Trace the requests of `client`, or of every httpx client of this process, existing clients included.

    Args:
        client: The client; None: all, sync and async.
        on_start: Called with the recording span and the request before sending; exceptions are logged. A
            coroutine function is awaited for asynchronous clients, and not called for synchronous clients.
        on_end: Called with the recording span, the request and the response; otherwise the same.
        capture_request_headers: Names and globs of request headers to record on the span; secrets are masked.
            Default: ``OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST``.
        capture_response_headers: The same for response headers.
        exclude: Globs of whole URLs (``"http://localhost:9200/*"``) that are not traced and get no headers.
            Default: ``OTEL_PYTHON_HTTPX_EXCLUDED_URLS`` or ``OTEL_PYTHON_EXCLUDED_URLS``.
        propagate_to: Globs of host names that receive the trace's headers. Default: all.
        redact: More name globs whose values are masked, in addition to the built-in globs and the set-up's.
        correlation: Writing of the correlation id. Default: the set-up's.
        tracer_provider: Default: the global provider.
        meter_provider: For ``http.client.request.duration``. Default: the global provider; without a provider,
            nothing is measured.

    Returns:
        A handle with ``.uninstrument()``; a second call returns the same handle.

    Raises:
        MissingDependencyError: httpx is not installed.
        ConfigurationError: An option is wrong.
        AlreadyConfiguredError: Already instrumented, with other options.
    """
    require("httpx", package="obs-http")
    import httpx

    warn_unsupported_version("obs-http", "httpx")
    if client is not None and not isinstance(client, (httpx.Client, httpx.AsyncClient)):
        raise ConfigurationError(
            f"instrument_httpx takes an httpx client, not {client!r}; without one, all are traced"
        )
    options: dict[str, Any] = {
        "on_start": on_start,
        "on_end": on_end,
        "capture_request_headers": capture_request_headers,
        "capture_response_headers": capture_response_headers,
        "exclude": exclude,
        "propagate_to": propagate_to,
        "redact": redact,
        "correlation": correlation,
        "tracer_provider": tracer_provider,
        "meter_provider": meter_provider,
    }
    tracer = ClientTracer(
        _NAME, contrib=_CONTRIB, awaits=not isinstance(client, httpx.Client), **options
    )
    install = functools.partial(_install, client, tracer)
    return instrument_once(
        _NAME, install, target=client, options=options, defaults=instrument_httpx.__kwdefaults__
    )


def uninstrument_httpx(client: httpx.Client | httpx.AsyncClient | None = None) -> None:
    """Undo `instrument_httpx` for the same `client`."""
    uninstrument(_NAME, target=client)


def _install(
    client: httpx.Client | httpx.AsyncClient | None, tracer: ClientTracer
) -> Callable[[], None]:
    import httpx

    patches = Patches()
    if warn_if_contrib_is_active(_CONTRIB, package="obs-http"):
        return patches.undo
    owners: list[Any] = [client]
    if client is None:
        owners = [httpx.Client, httpx.AsyncClient]
    for owner in owners:
        if owner is httpx.AsyncClient or isinstance(owner, httpx.AsyncClient):
            _wrap(patches, owner, _call_async, _hop_async, tracer)
        else:
            _wrap(patches, owner, _call, _hop, tracer)
    return patches.undo


def _wrap(
    patches: Patches,
    owner: object,
    call: Callable[..., Any],
    hop: Callable[..., Any],
    tracer: ClientTracer,
) -> None:
    if hasattr(owner, _ONE_REQUEST):
        patches.wrap(owner, "send", call)
        patches.wrap(owner, _ONE_REQUEST, functools.partial(hop, tracer))
    else:
        patches.wrap(owner, "send", functools.partial(_whole, call, hop, tracer))


def _whole(
    call: Callable[..., Any],
    hop: Callable[..., Any],
    tracer: ClientTracer,
    send: Callable[..., Any],
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Trace a call as a single request, for clients of httpx without ``_send_single_request``."""
    if "request" in kwargs:
        args = (*args, kwargs.pop("request"))
    send = functools.partial(send, **kwargs)
    return call(functools.partial(hop, tracer, send), *args)


def _call(send: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    token = current_call.set(Call())
    try:
        return send(*args, **kwargs)
    finally:
        current_call.reset(token)


async def _call_async(send: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
    token = current_call.set(Call())
    try:
        return await send(*args, **kwargs)
    finally:
        current_call.reset(token)


def _hop(tracer: ClientTracer, send: Callable[..., Any], *args: Any) -> Any:
    hop = call_contained("tracing a request of httpx", _begin, tracer, args[-1])
    if hop is None:
        return send(*args)
    try:
        tracer.on_start.call(hop.span, args[-1])
        response = send(*args)
        call_contained("tracing a response of httpx", _succeed, tracer, hop, response)
        tracer.on_end.call(hop.span, args[-1], response)
        return response
    except BaseException as error:
        tracer.fail(hop, error)
        raise
    finally:
        hop.end()


async def _hop_async(tracer: ClientTracer, send: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    hop = call_contained("tracing a request of httpx", _begin, tracer, args[-1])
    if hop is None:
        return await send(*args)
    try:
        await tracer.on_start.call_async(hop.span, args[-1])
        response = await send(*args)
        call_contained("tracing a response of httpx", _succeed, tracer, hop, response)
        await tracer.on_end.call_async(hop.span, args[-1], response)
        return response
    except BaseException as error:
        tracer.fail(hop, error)
        raise
    finally:
        hop.end()


def _begin(tracer: ClientTracer, request: httpx.Request) -> Hop | None:
    url = request.url
    return tracer.begin(Target(request.method, str(url), url.host, url.port), request.headers)


def _succeed(tracer: ClientTracer, hop: Hop, response: httpx.Response) -> None:
    if hop.is_observed:
        hop.note("network.protocol.version", response.http_version.removeprefix("HTTP/"))
        tracer.succeed(hop, response.status_code, response.headers.raw)
