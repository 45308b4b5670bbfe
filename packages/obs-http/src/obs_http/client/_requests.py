"""requests: every session or a single session, with any adapter.

``Session.get_adapter`` is called for each request sent, redirects included; the returned adapter is wrapped.
Contrib wraps ``Session.send``, of all sessions only, and records all redirects as a single span.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from obs_core.integration import Contrib, Patches, suppress_http
from opentelemetry import context

from obs_http._headers import RawHeaders
from obs_http.client._attributes import Answer, Target
from obs_http.client._options import ClientOptions
from obs_http.client._request import (
    current_call,
    is_between_requests,
    run_call,
    send_traced,
)
from obs_http.client._tracer import ClientTracer, Library

if TYPE_CHECKING:
    import requests
    from requests.adapters import BaseAdapter

_VERSIONS: dict[object, str] = {10: "1.0", 11: "1.1", 20: "2"}
_contrib = Contrib(
    "opentelemetry.instrumentation.requests:RequestsInstrumentor", package="obs-http"
)


class Requests(Library):
    """Reads the requests and responses of requests."""

    name = "requests"
    awaits = False

    def is_left_to_contrib(self) -> bool:
        return _contrib.takes_over()

    def target(self, request: requests.PreparedRequest) -> Target:
        url = request.url or ""
        parts = urlsplit(url)
        return Target(request.method or "GET", url, parts.hostname or "", parts.port)

    def headers(
        self, message: requests.PreparedRequest | requests.Response
    ) -> RawHeaders:
        return [
            (_bytes(name), _bytes(value)) for name, value in message.headers.items()
        ]

    def answer(self, response: requests.Response) -> Answer:
        version = _VERSIONS.get(getattr(response.raw, "version", None))
        retries = getattr(getattr(response.raw, "retries", None), "history", ())
        return Answer(response.status_code, version, len(retries))


def install(
    session: requests.Session | None, options: ClientOptions
) -> Callable[[], None]:
    """Trace `session`, or all sessions; return the undo."""
    import requests

    library, patches = Requests(), Patches()
    tracer = ClientTracer(library, options)
    if not library.is_left_to_contrib():
        owner: Any = requests.Session if session is None else session
        patches.wrap(owner, "send", _call)
        patches.wrap(owner, "get_adapter", functools.partial(_adapter, tracer))
    return patches.undo


def _bytes(value: str | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode("latin-1", "replace")


def _call(send: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    # requests follows a redirect by a call of `send` within `send`
    if kwargs.get("allow_redirects") is False and is_between_requests():
        return send(*args, **kwargs)
    return run_call(send, *args, **kwargs)


def _adapter(
    tracer: ClientTracer,
    get_adapter: Callable[..., BaseAdapter],
    *args: Any,
    **kwargs: Any,
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

    def send(
        self, request: requests.PreparedRequest, **kwargs: Any
    ) -> requests.Response:
        response: requests.Response = send_traced(
            self._tracer, self._send, request, **kwargs
        )
        return response

    def _send(
        self, request: requests.PreparedRequest, **kwargs: Any
    ) -> requests.Response:
        """Send `request`; if traced, without spans of an instrumented urllib3 below."""
        call = current_call.get()
        if call is None or not call.busy:
            return self._adapter.send(request, **kwargs)
        token = context.attach(suppress_http())
        try:
            return self._adapter.send(request, **kwargs)
        finally:
            context.detach(token)
