"""Attribute names: the established names by default, the newer names under ``OTEL_SEMCONV_STABILITY_OPT_IN``.

https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
"""

from __future__ import annotations

from collections.abc import Mapping

from grpc import StatusCode
from obs_core.integration import semconv_opt_in

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
            code: self._current(
                {"rpc.grpc.status_code": code.value[0]},
                {"rpc.response.status_code": code.name},
            )
            for code in StatusCode
        }

    def rpc(self, name: str) -> Attributes:
        """Return the start attributes of an RPC of `name` (``package.Service/Method``)."""
        service, _, method = name.rpartition("/")
        return self._current(
            {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
            {"rpc.system.name": "grpc", "rpc.method": name},
        )

    def _current(self, older: Attributes, newer: Attributes) -> Attributes:
        if self._older and self._newer:
            return {**older, **newer}
        return newer if self._newer else older
