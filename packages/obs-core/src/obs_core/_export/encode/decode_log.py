"""Encoded log records as records of the SDK, for exporters of later versions that take no bytes."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.trace import TraceFlags

from obs_core._export.encode.decode import attributes_of, origin_of, value_of
from obs_core._export.encode.encoder import EncodedItem


def decoded_log(item: Any) -> Any:
    """Return the record as OpenTelemetry 1.39 and later hand it to exporters.

    Raises:
        ImportError: The SDK has other records.
    """
    from opentelemetry import _logs as api
    from opentelemetry.sdk import _logs as sdk

    assert isinstance(item, EncodedItem)
    found = LogRecord.FromString(item.message)
    resource, scope = origin_of(item.group)
    record = api.LogRecord(
        timestamp=found.time_unix_nano,
        observed_timestamp=found.observed_time_unix_nano,
        trace_id=int.from_bytes(found.trace_id, "big"),
        span_id=int.from_bytes(found.span_id, "big"),
        trace_flags=TraceFlags(found.flags),
        severity_text=found.severity_text,
        severity_number=api.SeverityNumber(found.severity_number),
        body=value_of(found.body),
        attributes=attributes_of(found.attributes),
    )
    return sdk.ReadableLogRecord(record, resource, scope)
