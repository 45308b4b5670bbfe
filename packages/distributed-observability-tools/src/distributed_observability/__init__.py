"""distributed-observability-tools: the import paths of 1.0, leading to the obs packages; no logic of its own.

What an extra brings is importable without it; using it says which extra to install.
"""

from distributed_observability.core import (
    CorrelationConfig,
    FastAPIConfig,
    HTTPClientConfig,
    match_header_pattern,
)
from distributed_observability.framework import (
    RequestTracingMiddleware,
    instrument_boto3,
    instrument_celery,
    instrument_grpc_client,
    instrument_grpc_server,
    instrument_redis,
    instrument_sqlalchemy,
)
from distributed_observability.tracing import (
    TracingConfig,
    TracingManager,
    add_span_attributes,
    setup_tracing,
    trace_function,
)
from distributed_observability.utils import instrument_httpx_client

__all__ = [
    "CorrelationConfig",
    "FastAPIConfig",
    "HTTPClientConfig",
    "RequestTracingMiddleware",
    "TracingConfig",
    "TracingManager",
    "add_span_attributes",
    "instrument_boto3",
    "instrument_celery",
    "instrument_grpc_client",
    "instrument_grpc_server",
    "instrument_httpx_client",
    "instrument_redis",
    "instrument_sqlalchemy",
    "match_header_pattern",
    "setup_tracing",
    "trace_function",
]
