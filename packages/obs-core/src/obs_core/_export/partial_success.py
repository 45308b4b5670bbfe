"""OTLP's partial success: the collector has taken a batch but for some spans, which may not be sent again.

The exporters do not look at the answer's body, so it is read where it passes on the export thread.
"""

from __future__ import annotations

import threading


class _Answers(threading.local):
    """What the answers to this thread's export say."""

    rejected: int = 0
    reason: str = ""


_answers = _Answers()


def forget() -> None:
    """Begin an export."""
    _answers.rejected, _answers.reason = 0, ""


def rejected() -> tuple[int, str]:
    """Return how many spans of this thread's last export were rejected, and the collector's reason."""
    return _answers.rejected, _answers.reason


def note(answer: bytes) -> None:
    """Read the body of an answer to an export; a body that is no OTLP response says nothing.

    The responses of all signals have the same fields under the same numbers.
    """
    if not answer:
        return
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    try:
        response = trace_service_pb2.ExportTraceServiceResponse.FromString(answer)
    except DecodeError:
        return
    found = response.partial_success
    if found.rejected_spans > 0:
        _answers.rejected, _answers.reason = found.rejected_spans, found.error_message
