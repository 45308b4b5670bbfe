"""The headers of an outgoing request that carry the trace, the baggage and the correlation id."""

from __future__ import annotations

import re
from collections.abc import MutableMapping, Sequence
from fnmatch import translate

from obs_core import CorrelationConfig
from obs_core.exceptions import ConfigurationError
from obs_core.integration import call_contained, correlation_headers, outgoing_context
from opentelemetry import propagate
from opentelemetry.context import Context

from obs_http._patterns import any_of


def any_glob(option: str, globs: Sequence[str]) -> re.Pattern[str] | None:
    """Return the `globs` of an option as a single pattern; None without globs.

    Raises:
        ConfigurationError: `globs` is a string.
    """
    if isinstance(globs, str):
        raise ConfigurationError(f"{option}={globs!r} is not a list of globs: write [{globs!r}]")
    return any_of([*map(translate, globs)])


class Propagation:
    """Writes the headers of outgoing requests.

    Args:
        hosts: Globs of the hosts that receive headers; empty: all.
        correlation: Writing of the correlation id. Default: the set-up's.
    """

    __slots__ = ("_correlation", "_hosts")

    def __init__(self, hosts: Sequence[str], correlation: CorrelationConfig | None) -> None:
        self._hosts = any_glob("propagate_to", hosts)
        self._correlation = correlation

    def inject(self, headers: MutableMapping[str, str], host: str, context: Context) -> None:
        """Write `context` into the `headers` of a request to `host`; a correlation header of the user stays."""
        if self._hosts is not None and not self._hosts.match(host):
            return
        out = outgoing_context(context, self._correlation)
        call_contained("the propagator", propagate.inject, headers, out)
        for name, value in correlation_headers(self._correlation, context).items():
            if name not in headers:
                headers[name] = value
