"""Instrument HTTP clients, all of a library or a single one, and undo that."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from obs_core import CorrelationConfig
from obs_core.exceptions import ConfigurationError
from obs_core.integration import (
    InstrumentationHandle,
    instrument_once,
    require,
    uninstrument,
    warn_unsupported_version,
)
from opentelemetry import trace
from opentelemetry.metrics import MeterProvider

from obs_http.client import _httpx, _requests
from obs_http.client._options import ClientOptions, OnEnd, OnStart

if TYPE_CHECKING:
    import httpx
    import httpx2
    import requests

    Client = httpx.Client | httpx.AsyncClient | httpx2.Client | httpx2.AsyncClient

T = TypeVar("T")


def instrument_httpx(
    client: Client | None = None,
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
    """Trace the requests of `client`, or of every client of httpx and httpx2 in this process, existing ones included.

    A library that is not imported yet is not imported here: its clients are traced once it is.

    Args:
        client: The client, sync or async; None: all.
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
        MissingDependencyError: Neither httpx nor httpx2 is installed.
        ConfigurationError: An option is wrong.
        AlreadyConfiguredError: Already instrumented, with other options.
    """
    _httpx.check_client(client)
    options = ClientOptions(
        on_start=on_start,
        on_end=on_end,
        capture_request_headers=capture_request_headers,
        capture_response_headers=capture_response_headers,
        exclude=exclude,
        propagate_to=propagate_to,
        redact=redact,
        correlation=correlation,
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
    )
    for library in ("httpx", "httpx2"):
        warn_unsupported_version("obs-http", library)
    return _instrument("httpx", client, _httpx.install, options)


def uninstrument_httpx(client: Client | None = None) -> None:
    """Undo `instrument_httpx` for the same `client`."""
    uninstrument("httpx", target=client)


def instrument_requests(
    session: requests.Session | None = None,
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
    """Trace the requests of `session`, or of every session of this process, ``requests.get`` etc. included.

    Attempts by urllib3 (``HTTPAdapter(max_retries=…)``) are a single span, with the number of attempts as
    ``http.request.resend_count``; each redirect is a separate span, in the same trace.

    The options are those of `instrument_httpx`; the hooks are plain functions, called with the
    ``PreparedRequest`` and the ``Response``. Default of `exclude`: ``OTEL_PYTHON_REQUESTS_EXCLUDED_URLS`` or
    ``OTEL_PYTHON_EXCLUDED_URLS``.

    Returns:
        A handle with ``.uninstrument()``; a second call returns the same handle.

    Raises:
        MissingDependencyError: requests is not installed.
        ConfigurationError: An option is wrong.
        AlreadyConfiguredError: Already instrumented, with other options.
    """
    require("requests", package="obs-http")
    import requests

    if not isinstance(session, requests.Session | None):
        raise ConfigurationError(
            f"instrument_requests takes a requests.Session, not {session!r}; without one, all are traced"
        )
    options = ClientOptions(
        on_start=on_start,
        on_end=on_end,
        capture_request_headers=capture_request_headers,
        capture_response_headers=capture_response_headers,
        exclude=exclude,
        propagate_to=propagate_to,
        redact=redact,
        correlation=correlation,
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
    )
    warn_unsupported_version("obs-http", "requests")
    return _instrument("requests", session, _requests.install, options)


def uninstrument_requests(session: requests.Session | None = None) -> None:
    """Undo `instrument_requests` for the same `session`."""
    uninstrument("requests", target=session)


def _instrument(
    name: str,
    client: T | None,
    install: Callable[[T | None, ClientOptions], Callable[[], None]],
    options: ClientOptions,
) -> InstrumentationHandle:
    return instrument_once(
        name,
        functools.partial(install, client, options),
        target=client,
        options=options,
        defaults=ClientOptions(),
    )
