"""Attributes of a channel's target, of a caller's address, and of the identity in baggage."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import unquote

from opentelemetry import baggage
from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

Attributes = Mapping[str, AttributeValue]

_SOCKETS = ("unix", "unix-abstract")
_RESOLVERS = ("dns", "ipv4", "ipv6", "xds", "passthrough")
_IDENTITY_KEYS = ("user.id", "user.hash", "tenant.id")
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,256}")


def server_address(target: str) -> Attributes:
    """Return ``server.address`` and ``server.port`` of a channel's `target`.

    https://github.com/grpc/grpc/blob/master/doc/naming.md
    """
    scheme, colon, rest = target.partition(":")
    if colon and scheme in _SOCKETS:
        return {"server.address": rest.removeprefix("//")}
    if colon and (scheme in _RESOLVERS or rest.startswith("//")):
        target = rest.rpartition("/")[2]
    if not target:
        return {}
    return _host_and_port("server", target.split(",")[0])


@lru_cache(maxsize=256)
def client_address(peer: str) -> Attributes:
    """Return ``client.address`` and ``client.port`` of a servicer context's `peer`, such as ``ipv6:%5B::1%5D:57284``."""
    scheme, _, rest = unquote(peer).partition(":")
    if scheme in ("ipv4", "ipv6"):
        return _host_and_port("client", rest.split(",")[0])
    return {"client.address": rest} if rest else {}


def _host_and_port(side: str, text: str) -> Attributes:
    host, colon, port = text.rpartition(":")
    is_bare_ipv6 = ":" in host and not host.startswith("[")
    if not colon or not port.isdecimal() or is_bare_ipv6:
        return {f"{side}.address": text.strip("[]")}
    return {f"{side}.address": host.strip("[]"), f"{side}.port": int(port)}


def identity_of(context: Context) -> Attributes:
    """Return user and tenant from the baggage in `context`, which obs-http writes under ``identity_in_baggage``.

    A value with characters that could forge a log line is left out.
    """
    attributes: dict[str, AttributeValue] = {}
    for key in _IDENTITY_KEYS:
        value = baggage.get_baggage(key, context)
        if isinstance(value, str) and _PRINTABLE.fullmatch(value):
            attributes[key] = value
    return attributes
