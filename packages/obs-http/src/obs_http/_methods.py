"""HTTP methods, bounded to those that are known."""

from __future__ import annotations

KNOWN_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)


def bounded_method(method: str, other: str = "_OTHER") -> str:
    """Return a known `method`, or else `other`."""
    if method in KNOWN_METHODS:
        return method
    return other
