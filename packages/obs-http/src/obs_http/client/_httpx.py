"""httpx, sync and async: every client or a single client, with any transport.

Every request passes ``_send_single_request``, on all transports (network, ASGI, WSGI, mock, custom), each
redirect and each authentication round included. Contrib wraps the network transports' ``handle_request``, and
other transports only of a client passed to contrib
(https://github.com/open-telemetry/opentelemetry-python-contrib/issues/1742).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from obs_core.integration import Contrib, Patches

from obs_http._headers import RawHeaders
from obs_http.client._attributes import Answer, Target
from obs_http.client._request import run_call, run_call_async, send_traced, send_traced_async
from obs_http.client._tracer import ClientTracer, Library

if TYPE_CHECKING:
    import httpx

_ONE_REQUEST = "_send_single_request"
_contrib = Contrib(
    "opentelemetry.instrumentation.httpx:HTTPXClientInstrumentor", package="obs-http"
)


class Httpx(Library):
    """Reads the requests and responses of httpx."""

    name = "httpx"

    def __init__(self, *, awaits: bool) -> None:
        self.awaits = awaits

    def is_left_to_contrib(self) -> bool:
        return _contrib.takes_over()

    def target(self, request: httpx.Request) -> Target:
        url = request.url
        return Target(request.method, str(url), url.host, url.port)

    def headers(self, message: httpx.Request | httpx.Response) -> RawHeaders:
        return message.headers.raw

    def answer(self, response: httpx.Response) -> Answer:
        return Answer(response.status_code, response.http_version.removeprefix("HTTP/"))

    def patch(self, patches: Patches, owner: Any, tracer: ClientTracer) -> None:
        one_request = "send"  # an httpx without the method: the call is a single request
        if hasattr(owner, _ONE_REQUEST):
            one_request = _ONE_REQUEST
        if hasattr(owner, "aclose"):
            patches.wrap(owner, one_request, functools.partial(send_traced_async, tracer))
            patches.wrap(owner, "send", run_call_async)
        else:
            patches.wrap(owner, one_request, functools.partial(send_traced, tracer))
            patches.wrap(owner, "send", run_call)
