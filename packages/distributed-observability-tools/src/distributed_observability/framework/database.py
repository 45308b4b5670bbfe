"""Databases: obs-db's and obs-aws's."""

from collections.abc import Callable
from typing import Any

from distributed_observability._optional import optional

__all__ = ["instrument_boto3", "instrument_redis", "instrument_sqlalchemy"]

instrument_sqlalchemy: Callable[..., Any] = optional(
    "obs_db:instrument_sqlalchemy", "database"
)
instrument_redis: Callable[..., Any] = optional("obs_db:instrument_redis", "database")
instrument_boto3: Callable[..., Any] = optional("obs_aws:instrument_boto3", "aws")
