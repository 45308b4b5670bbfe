"""Values of attributes of both sides: known methods, default ports."""

from __future__ import annotations

KNOWN_METHODS = frozenset(
    {
        "CONNECT",
        "DELETE",
        "GET",
        "HEAD",
        "OPTIONS",
        "PATCH",
        "POST",
        "PUT",
        "QUERY",
        "TRACE",
    }
)

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def bounded_method(method: str, other: str = "_OTHER") -> str:
    """Return a known `method`, or else `other`."""
    if method in KNOWN_METHODS:
        return method
    return other
