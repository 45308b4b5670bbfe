"""The settings of correlation ids, as the user writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from obs_core._config import validators as check
from obs_core._config.keywords import explain_unknown_options

DEFAULT_CORRELATION_HEADERS = ("X-Correlation-ID", "X-Request-ID")


@explain_unknown_options
@dataclass(frozen=True, kw_only=True)
class CorrelationConfig:
    """Correlation ids at the HTTP edges; between services the id travels in W3C baggage.

    Attributes:
        headers: Request headers to take an id from, first match wins; the first is also written on responses and on
            outgoing requests. Default ``X-Correlation-ID``, ``X-Request-ID``.
        propagation: Whether the id leaves the service: as a header, and in baggage. Default True.
        generate_id: Whether a request without an id gets a new id. Default True.
    """

    headers: Sequence[str] = DEFAULT_CORRELATION_HEADERS
    propagation: bool = True
    generate_id: bool = True

    def __post_init__(self) -> None:
        headers = check.header_names("correlation.headers", self.headers)
        object.__setattr__(self, "headers", headers)
        check.boolean("correlation.propagation", self.propagation)
        check.boolean("correlation.generate_id", self.generate_id)
