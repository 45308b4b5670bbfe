"""Middleware before every route: refuses foreign host names, and sets the headers that isolate the page."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class HostCheck:
    """Refuses requests under a foreign name: a web page whose name was re-bound to 127.0.0.1 must not read traces."""

    def __init__(self, app: ASGIApp, allowed: Iterable[str] = ()) -> None:
        """Wrap `app`; `allowed` are names beyond localhost, host.docker.internal and IP addresses."""
        self.app = app
        self.allowed = {
            "localhost",
            "host.docker.internal",
            *(name.lower() for name in allowed),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        app = self.app
        if scope["type"] == "http" and not self._is_ours(
            Request(scope).headers.get("host", "")
        ):
            app = PlainTextResponse(
                "This host name is not ours: use localhost, or start with --allow-host NAME.\n",
                403,
            )
        await app(scope, receive, send_with_headers)

    def _is_ours(self, host: str) -> bool:
        name = host.lower().rsplit(":", 1)[0] if not host.endswith("]") else host
        if name in self.allowed or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True
