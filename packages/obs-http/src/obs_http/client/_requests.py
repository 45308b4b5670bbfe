"""requests: every session or a single session, with any adapter.

``Session.get_adapter`` is called for each request sent, redirects included; the returned adapter is wrapped.
Contrib wraps ``Session.send``, of all sessions only, and records all redirects as a single span.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from obs_core import CorrelationConfig
from obs_core.exceptions import ConfigurationError
from obs_core.integration import (
    InstrumentationHandle,
    Patches,
    call_contained,
    instrument_once,
    require,
    suppress_http,
    uninstrument,
    warn_if_contrib_is_active,
    warn_unsupported_version,
)
from opentelemetry import context, trace
from opentelemetry.metrics import MeterProvider

from obs_http.client._hooks import OnEnd, OnStart
from obs_http.client._request import Call, Hop, Target, current_call
from obs_http.client._tracer import ClientTracer, raw_headers

if TYPE_CHECKING:
    import requests
    from requests.adapters import BaseAdapter

_NAME = "requests"
_VERSIONS: dict[object, str] = {10: "1.0", 11: "1.1", 20: "2"}
_CONTRIB = "opentelemetry.instrumentation.requests:RequestsInstrumentor"


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

    Args:
        session: The session; None: all.
        on_start: Called with the recording span and the ``PreparedRequest``; exceptions are logged.
        on_end: Called with the recording span, the request and the ``Response``; exceptions are logged.
        capture_request_headers: Names and globs of request headers to record on the span; secrets are masked.
            Default: ``OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST``.
        capture_response_headers: The same for response headers.
        exclude: Globs of whole URLs that are not traced and get no headers.
            Default: ``OTEL_PYTHON_REQUESTS_EXCLUDED_URLS`` or ``OTEL_PYTHON_EXCLUDED_URLS``.
        propagate_to: Globs of host names that receive the trace's headers. Default: all.
        redact: More name globs whose values are masked, in addition to the built-in globs and the set-up's.
        correlation: Writing of the correlation id. Default: the set-up's.
        tracer_provider: Default: the global provider.
        meter_provider: For ``http.client.request.duration``. Default: the global provider; without a provider,
            nothing is measured.

    Returns:
        A handle with ``.uninstrument()``; a second call returns the same handle.

    Raises:
        MissingDependencyError: requests is not installed.
        ConfigurationError: An option is wrong.
        AlreadyConfiguredError: Already instrumented, with other options.
    """
    require("requests", package="obs-http")
    import requests

    warn_unsupported_version("obs-http", "requests")
    if session is not None and not isinstance(session, requests.Session):
        raise ConfigurationError(
            f"instrument_requests takes a requests.Session, not {session!r}; without one, all are traced"
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
    tracer = ClientTracer(_NAME, contrib=_CONTRIB, awaits=False, **options)
    install = functools.partial(_install, session, tracer)
    return instrument_once(
        _NAME, install, target=session, options=options, defaults=instrument_requests.__kwdefaults__
    )


def uninstrument_requests(session: requests.Session | None = None) -> None:
    """Undo `instrument_requests` for the same `session`."""
    uninstrument(_NAME, target=session)


def _install(session: requests.Session | None, tracer: ClientTracer) -> Callable[[], None]:
    import requests

    patches = Patches()
    if warn_if_contrib_is_active(_CONTRIB, package="obs-http"):
        return patches.undo
    owner: Any = requests.Session
    if session is not None:
        owner = session
    patches.wrap(owner, "send", _call)
    patches.wrap(owner, "get_adapter", functools.partial(_adapter, tracer))
    return patches.undo


def _call(send: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if (
        kwargs.get("allow_redirects") is False
        and (call := current_call.get()) is not None
        and call.sent
        and not call.busy
    ):
        # requests follows a redirect by a call of `send` within `send`
        return send(*args, **kwargs)
    token = current_call.set(Call())
    try:
        return send(*args, **kwargs)
    finally:
        current_call.reset(token)


def _adapter(
    tracer: ClientTracer, get_adapter: Callable[..., BaseAdapter], *args: Any, **kwargs: Any
) -> Any:
    adapter = get_adapter(*args, **kwargs)
    if current_call.get() is None:
        return adapter
    return _TracingAdapter(adapter, tracer)


class _TracingAdapter:
    """Replaces a session's adapter while `Session.send` runs."""

    __slots__ = ("_adapter", "_tracer")

    def __init__(self, adapter: BaseAdapter, tracer: ClientTracer) -> None:
        self._adapter = adapter
        self._tracer = tracer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        hop = call_contained("tracing a request of requests", _begin, self._tracer, request)
        if hop is None:
            return self._adapter.send(request, **kwargs)
        try:
            self._tracer.on_start.call(hop.span, request)
            response = self._send(request, **kwargs)
            call_contained("tracing a response of requests", _succeed, self._tracer, hop, response)
            self._tracer.on_end.call(hop.span, request, response)
            return response
        except BaseException as error:
            self._tracer.fail(hop, error)
            raise
        finally:
            hop.end()

    def _send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send `request` without spans of an instrumented urllib3 below."""
        token = context.attach(suppress_http())
        try:
            return self._adapter.send(request, **kwargs)
        finally:
            context.detach(token)


def _begin(tracer: ClientTracer, request: requests.PreparedRequest) -> Hop | None:
    url = request.url or ""
    parts = urlsplit(url)
    return tracer.begin(
        Target(request.method or "GET", url, parts.hostname or "", parts.port),
        request.headers,
    )


def _succeed(tracer: ClientTracer, hop: Hop, response: requests.Response) -> None:
    retries = getattr(getattr(response.raw, "retries", None), "history", ())
    if retries:
        hop.span.set_attribute("http.request.resend_count", len(retries))
    if (version := _VERSIONS.get(getattr(response.raw, "version", None))) is not None:
        hop.note("network.protocol.version", version)
    tracer.succeed(hop, response.status_code, raw_headers(response.headers))
