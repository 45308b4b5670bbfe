"""Attribute names: the ones every backend knows by default, the newer ones under ``OTEL_SEMCONV_STABILITY_OPT_IN``.

https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import unquote

from grpc import StatusCode
from opentelemetry.util.types import AttributeValue

Attributes = Mapping[str, AttributeValue]

REQUESTS = "rpc.request.message_count"
RESPONSES = "rpc.response.message_count"
#: A server has failed only with these; the others say that the client asked for something it cannot have.
SERVER_ERRORS = frozenset(
    {
        StatusCode.UNKNOWN,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.UNIMPLEMENTED,
        StatusCode.INTERNAL,
        StatusCode.UNAVAILABLE,
        StatusCode.DATA_LOSS,
    }
)
CLIENT_ERRORS = frozenset(StatusCode) - {StatusCode.OK}
_VARIABLE = "OTEL_SEMCONV_STABILITY_OPT_IN"
_BY_NUMBER: Mapping[object, StatusCode] = {code.value[0]: code for code in StatusCode}


class Names:
    """The names in force: ``rpc`` asks for the newer ones, ``rpc/dup`` for both, anything else for the older ones.

    Attributes:
        codes: What to record for each status code.
    """

    __slots__ = ("_newer", "_older", "codes")

    def __init__(self) -> None:
        asked = {part.strip() for part in os.environ.get(_VARIABLE, "").split(",")}
        self._newer = not asked.isdisjoint({"rpc", "rpc/dup"})
        self._older = not self._newer or "rpc/dup" in asked
        self.codes: Mapping[StatusCode, Attributes] = {
            code: self._code(code) for code in StatusCode
        }

    def rpc(self, name: str) -> dict[str, AttributeValue]:
        """Return what is known as an RPC of `name` (``package.Service/Method``) starts."""
        service, _, method = name.rpartition("/")
        older = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        newer = {"rpc.system.name": "grpc", "rpc.method": name}
        return {**(older if self._older else {}), **(newer if self._newer else {})}

    def _code(self, code: StatusCode) -> Attributes:
        older = {"rpc.grpc.status_code": code.value[0]}
        newer = {"rpc.response.status_code": code.name}
        return {**(older if self._older else {}), **(newer if self._newer else {})}


def as_status_code(code: object) -> StatusCode:
    """Return the status code that `code` (a StatusCode, its number as in older grpc.aio, or None for OK) stands for."""
    if isinstance(code, StatusCode):
        return code
    return StatusCode.OK if code is None else _BY_NUMBER.get(code, StatusCode.UNKNOWN)


def server_address(target: str) -> dict[str, AttributeValue]:
    """Return ``server.address`` and ``server.port`` of a channel's `target`.

    https://github.com/grpc/grpc/blob/master/doc/naming.md
    """
    scheme, colon, rest = target.partition(":")
    if colon and scheme in ("unix", "unix-abstract"):
        return {"server.address": rest.removeprefix("//")}
    if colon and (scheme in ("dns", "ipv4", "ipv6", "xds", "passthrough") or rest.startswith("//")):
        target = rest.rpartition("/")[2]
    return _host_and_port("server", target.split(",")[0]) if target else {}


@lru_cache(maxsize=256)
def client_address(peer: str) -> Attributes:
    """Return ``client.address`` and ``client.port`` of a servicer context's `peer`, such as ``ipv6:%5B::1%5D:57284``."""
    scheme, _, rest = unquote(peer).partition(":")
    if scheme in ("ipv4", "ipv6"):
        return _host_and_port("client", rest.split(",")[0])
    return {"client.address": rest} if rest else {}


def _host_and_port(side: str, text: str) -> dict[str, AttributeValue]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or (":" in host and not host.startswith("[")):
        return {f"{side}.address": text.strip("[]")}
    return {f"{side}.address": host.strip("[]"), f"{side}.port": int(port)}
