"""The frameworks, under the names of 1.0."""

from distributed_observability.framework.celery import (
    CeleryInstrumentor,
    instrument_celery,
)
from distributed_observability.framework.database import (
    instrument_boto3,
    instrument_redis,
    instrument_sqlalchemy,
)
from distributed_observability.framework.fastapi import RequestTracingMiddleware
from distributed_observability.framework.grpc import (
    instrument_grpc_client,
    instrument_grpc_server,
)

__all__ = [
    "CeleryInstrumentor",
    "RequestTracingMiddleware",
    "instrument_boto3",
    "instrument_celery",
    "instrument_grpc_client",
    "instrument_grpc_server",
    "instrument_redis",
    "instrument_sqlalchemy",
]
