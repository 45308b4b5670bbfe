"""The import paths of 1.0, re-exported from the obs packages; extras are imported when used."""

from importlib.metadata import version

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

__version__ = version("distributed-observability-tools")
__all__ = [
    "CorrelationConfig",
    "FastAPIConfig",
    "HTTPClientConfig",
    "RequestTracingMiddleware",
    "TracingConfig",
    "TracingManager",
    "__version__",
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
