"""Configuration, under the names of 1.0."""

from distributed_observability.core.config import (
    CorrelationConfig,
    FastAPIConfig,
    HTTPClientConfig,
    ObservabilityConfig,
    TracingConfig,
    match_header_pattern,
)

__all__ = [
    "CorrelationConfig",
    "FastAPIConfig",
    "HTTPClientConfig",
    "ObservabilityConfig",
    "TracingConfig",
    "match_header_pattern",
]
