"""CORS: lets web pages of the allowed origins send to the OTLP paths, and to nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OTLP_PATHS = "/v1/"
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s?#]+")


class OriginError(ValueError):
    """An allowed origin is not valid; the message says how to write an origin."""


class Cors:
    """Answers preflights, and marks the answers to OTLP exporters that run in a browser."""

    def __init__(self, app: ASGIApp, origins: Iterable[str]) -> None:
        """Wrap `app`; `origins` as ``http://localhost:3000``, with ``*`` for any characters.

        Raises:
            OriginError: An origin is not valid.
        """
        self.app = app
        self.origins = [checked_origin(origin) for origin in origins]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        request = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = request.get("origin", "")
        if not self._is_allowed(origin) or not scope["path"].startswith(_OTLP_PATHS):
            await self.app(scope, receive, send)
            return
        headers = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        app = self.app
        if scope["method"] == "OPTIONS" and "access-control-request-method" in request:
            app = Response(status_code=204, headers=_preflight(request))
        await app(scope, receive, send_with_headers)

    def _is_allowed(self, origin: str) -> bool:
        return any(
            fnmatchcase(origin.lower(), allowed) for allowed in self.origins if origin
        )


def checked_origin(origin: str) -> str:
    """Return `origin` in lower case.

    Raises:
        OriginError: `origin` is not valid.
    """
    lower = origin.lower()
    if not _ORIGIN.fullmatch(lower):
        raise OriginError(
            f"{origin!r} is no origin: write http://localhost:3000, http://localhost:* or *"
        )
    return lower


def _preflight(request: Headers) -> dict[str, str]:
    headers = {
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": request.get(
            "access-control-request-headers", ""
        ),
        "Access-Control-Max-Age": "600",
    }
    # a page of a public host asks so before it may reach loopback
    if request.get("access-control-request-private-network") == "true":
        headers["Access-Control-Allow-Private-Network"] = "true"
    return headers
