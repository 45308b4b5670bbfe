"""The shapes of ASGI, and our two keys in a scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

TRACED = ("http", "websocket")
#: The request's `Exchange`, or None where it is left alone: whoever finds the key does nothing of his own.
MARK = "obs_http.exchange"
#: The `Edge` of a request that was looked at before its application.
EDGE = "obs_http.edge"


def is_last(message: Message, *, trailers: bool) -> bool:
    """Whether `message` is the last of a response that has or has not announced `trailers`."""
    kind = message["type"]
    if kind == "http.response.body":
        return not trailers and not message.get("more_body", False)
    if kind == "http.response.trailers":
        return not message.get("more_trailers", False)
    return bool(kind == "http.response.pathsend")
