"""Attribute names: the established names by default, the newer names under ``OTEL_SEMCONV_STABILITY_OPT_IN``.

https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
"""

from __future__ import annotations

from collections.abc import Mapping

from grpc import StatusCode
from obs_core.integration import semconv_opt_in
from opentelemetry.util.types import AttributeValue

from obs_grpc._attributes import Attributes

REQUESTS = "rpc.request.message_count"
RESPONSES = "rpc.response.message_count"


class Names:
    """The current attribute names: ``rpc`` asks for the newer names, ``rpc/dup`` for both.

    Attributes:
        codes: The attributes of each status code.
    """

    __slots__ = ("_newer", "_older", "codes")

    def __init__(self) -> None:
        words = semconv_opt_in()
        self._newer = not words.isdisjoint({"rpc", "rpc/dup"})
        self._older = not self._newer or "rpc/dup" in words
        self.codes: Mapping[StatusCode, Attributes] = {
            code: self._code(code) for code in StatusCode
        }

    def rpc(self, name: str) -> Attributes:
        """Return the start attributes of an RPC of `name` (``package.Service/Method``)."""
        service, _, method = name.rpartition("/")
        older = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        newer = {"rpc.system.name": "grpc", "rpc.method": name}
        return self._current(older, newer)

    def _code(self, code: StatusCode) -> Attributes:
        older = {"rpc.grpc.status_code": code.value[0]}
        newer = {"rpc.response.status_code": code.name}
        return self._current(older, newer)

    def _current(self, older: Attributes, newer: Attributes) -> Attributes:
        attributes: dict[str, AttributeValue] = {}
        if self._older:
            attributes.update(older)
        if self._newer:
            attributes.update(newer)
        return attributes
