"""OTLP's partial success: the collector has taken a batch but for some items, which may not be sent again.

The exporters do not look at the answer's body, so it is read where it passes on the export thread.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)

from obs_core._export.verdict import pending_verdict


def note(answer: bytes) -> None:
    """Read the body of an answer to an export; a body that is no OTLP response says nothing.

    The responses of all signals have the same fields under the same numbers.
    """
    if not answer:
        return
    try:
        found = ExportTraceServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return
    if found.rejected_spans > 0:
        verdict = pending_verdict()
        verdict.rejected, verdict.reason = found.rejected_spans, found.error_message
