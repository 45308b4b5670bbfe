"""ASGI types, and the two keys of obs-http in a scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

TRACED = ("http", "websocket")
#: The `ServerRequest`, or None if not traced; a middleware that finds the key does nothing.
MARK = "obs_http.request"
#: The `Entry` of a request, set before the application runs.
ENTRY = "obs_http.entry"


def is_last(message: Message, *, trailers: bool) -> bool:
    """Whether `message` is the last of a response that has or has not announced `trailers`."""
    kind = message["type"]
    if kind == "http.response.body":
        return not trailers and not message.get("more_body", False)
    if kind == "http.response.trailers":
        return not message.get("more_trailers", False)
    return bool(kind == "http.response.pathsend")
