"""httpx and httpx2, sync and async: every client or a single client, with any transport.

Every request passes ``_send_single_request``, on all transports (network, ASGI, WSGI, mock, custom), each
redirect and each authentication round included. Contrib wraps the network transports' ``handle_request``, and
other transports only of a client passed to contrib
(https://github.com/open-telemetry/opentelemetry-python-contrib/issues/1742).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from obs_core.exceptions import ConfigurationError
from obs_core.integration import Contrib, Patches, require

from obs_http._headers import RawHeaders
from obs_http.client._attributes import Answer, Target
from obs_http.client._imports import is_installed, when_imported
from obs_http.client._options import ClientOptions
from obs_http.client._request import (
    run_call,
    run_call_async,
    send_traced,
    send_traced_async,
)
from obs_http.client._tracer import ClientTracer, Library

if TYPE_CHECKING:
    import httpx

#: The libraries, and contrib's instrumentation of each; the same classes and methods are patched in both.
_CONTRIB = {
    name: Contrib(
        f"opentelemetry.instrumentation.httpx:{instrumentor}", package="obs-http"
    )
    for name, instrumentor in {
        "httpx": "HTTPXClientInstrumentor",
        "httpx2": "HTTPX2ClientInstrumentor",
    }.items()
}
_ONE_REQUEST = "_send_single_request"


def check_client(client: object | None) -> None:
    """Raise unless `client` is a client of a library, or None and a library is installed.

    Raises:
        MissingDependencyError: Neither library is installed.
        ConfigurationError: `client` is something else.
    """
    if not any(map(is_installed, _CONTRIB)):
        require("httpx", package="obs-http")
    if client is not None and _module_name(client) is None:
        raise ConfigurationError(
            f"instrument_httpx takes a client of httpx or httpx2, not {client!r}; without one, all are traced"
        )


def _module_name(client: object) -> str | None:
    """Return the library of `client`."""
    for name in _CONTRIB:
        module = sys.modules.get(name)
        if module is not None and isinstance(
            client, (module.Client, module.AsyncClient)
        ):
            return name
    return None


def install(client: object | None, options: ClientOptions) -> Callable[[], None]:
    """Trace `client`, or all clients of both libraries; return the undo."""
    patches = Patches()
    if client is not None:
        library = Httpx(str(_module_name(client)), awaits=_is_async(client))
        library.patch(patches, client, ClientTracer(library, options))
        return patches.undo
    undo = [
        _install_all(Httpx(name, awaits=True), patches, options) for name in _CONTRIB
    ]

    def undo_all() -> None:
        for stop in undo:
            stop()
        patches.undo()

    return undo_all


def _install_all(
    library: Httpx, patches: Patches, options: ClientOptions
) -> Callable[[], None]:
    tracer = ClientTracer(library, options)

    def patch(module: ModuleType) -> None:
        if (
            module.__name__ == library.module
        ):  # ``httpx2.alias_httpx()`` gives httpx2 both names
            library.patch(patches, module.Client, tracer)
            library.patch(patches, module.AsyncClient, tracer)

    return when_imported(library.module, patch)


def _is_async(client: object) -> bool:
    return hasattr(client, "aclose")


class Httpx(Library):
    """Reads the requests and responses of httpx or httpx2."""

    name = "httpx"

    def __init__(self, module: str, *, awaits: bool) -> None:
        self.module = module
        self.awaits = awaits

    def is_left_to_contrib(self) -> bool:
        """Whether contrib traces this library, under either name."""
        module = sys.modules.get(self.module)
        return any(
            sys.modules.get(name) is module and contrib.takes_over()
            for name, contrib in _CONTRIB.items()
        )

    def target(self, request: httpx.Request) -> Target:
        url = request.url
        return Target(request.method, str(url), url.host, url.port)

    def headers(self, message: httpx.Request | httpx.Response) -> RawHeaders:
        return message.headers.raw

    def answer(self, response: httpx.Response) -> Answer:
        return Answer(response.status_code, response.http_version.removeprefix("HTTP/"))

    def patch(self, patches: Patches, owner: Any, tracer: ClientTracer) -> None:
        """Let `tracer` trace the requests of `owner`, a client or a class of clients."""
        if self.is_left_to_contrib():
            return
        one_request = "send"  # without the method, the call is a single request
        if hasattr(owner, _ONE_REQUEST):
            one_request = _ONE_REQUEST
        traced, call = send_traced, run_call
        if _is_async(owner):
            traced, call = send_traced_async, run_call_async
        patches.wrap(owner, one_request, functools.partial(traced, tracer))
        patches.wrap(owner, "send", call)
