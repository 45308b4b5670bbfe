"""The rules by which SigNoz sorts spans into its panes, after its sources: see docs/backends.md for the commits.

`str_of` is pdata's ``Value.Str()``: the text of a string, and nothing of a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from obs_core.testing import SinkSpan

#: Address, and its port, in the order in which they are looked for.
_PEERS = (
    ("net.peer.name", "net.peer.port"),
    ("server.address", "server.port"),
    ("net.peer.ip", "net.peer.port"),
    ("net.sock.peer.addr", "net.sock.peer.port"),
    ("network.peer.address", "network.peer.port"),
)
#: The last of these on a span is the derived field ``http_host``.
_HOSTS = (
    *("http.host", "server.address", "client.address"),
    *("http.request.header.host", "net.peer.name"),
)


def str_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def external_call(span: SinkSpan) -> str | None:
    """Return the address under which External Calls counts the span; None: it does not."""
    return remote_address(span.attributes) if span.kind == "CLIENT" else None


def remote_address(attributes: Mapping[str, Any]) -> str | None:
    """`getRemoteAddress`."""
    if "rpc.system" in attributes:
        called = str_of(attributes.get("rpc.service"))
        if "rpc.method" in attributes:
            called += "/" + str_of(attributes["rpc.method"])
        return called or peer_address(attributes)
    if "http.host" in attributes:
        return str_of(attributes["http.host"])
    return peer_address(attributes) or url_host(attributes)


def peer_address(attributes: Mapping[str, Any]) -> str | None:
    for name, port in _PEERS:
        if name in attributes:
            found = str_of(attributes[name])
            if port in attributes:
                found += ":" + str_of(attributes[port])
            return found
    return None


def url_host(attributes: Mapping[str, Any]) -> str | None:
    for name in ("http.url", "url.full"):
        if name in attributes:
            return urlsplit(str_of(attributes[name])).netloc
    return str_of(attributes.get("peer.service")) or None


def database_call(span: SinkSpan) -> tuple[str, str] | None:
    """Return ``db.system`` and ``db.name`` as Database Calls counts the span; None: it does not."""
    if span.kind == "SERVER" or "db.system" not in span.attributes:
        return None
    return (
        str_of(span.attributes["db.system"]),
        str_of(span.attributes.get("db.name")),
    )


def http_host(span: SinkSpan) -> str:
    """Return the derived field by which External APIs groups."""
    hosts = [name for name in span.attributes if name in _HOSTS]
    return str_of(span.attributes[hosts[-1]]) if hosts else ""


def status_code(span: SinkSpan) -> str:
    """Return the derived field ``response_status_code``."""
    names = (
        *("http.status_code", "http.response.status_code"),
        "rpc.grpc.status_code",
    )
    found = [span.attributes[name] for name in span.attributes if name in names]
    return str(found[-1]) if found else ""
