"""The headers of an outgoing request that carry the trace, the baggage and the correlation id."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence

from obs_core import CorrelationConfig
from obs_core.integration import (
    Globs,
    call_contained,
    correlation_headers,
    inject,
    outgoing_context,
)
from opentelemetry.context import Context


class Propagation:
    """Writes the headers of outgoing requests.

    Args:
        hosts: Globs of the hosts that receive headers; empty: all.
        correlation: Writing of the correlation id. Default: the set-up's.
    """

    __slots__ = ("_correlation", "_hosts")

    def __init__(
        self, hosts: Sequence[str], correlation: CorrelationConfig | None
    ) -> None:
        self._hosts = Globs(hosts)
        self._correlation = correlation

    def inject(
        self, headers: MutableMapping[str, str], host: str, context: Context
    ) -> bool:
        """Write `context` into the `headers` of a request to `host`; a correlation header of the user stays.

        Return whether `host` is one that receives headers.
        """
        if self._hosts and not self._hosts.matches(host):
            return False
        out = outgoing_context(context, self._correlation)
        call_contained("the propagator", inject, headers, out)
        for name, value in correlation_headers(self._correlation, context).items():
            if name not in headers:
                headers[name] = value
        return True
