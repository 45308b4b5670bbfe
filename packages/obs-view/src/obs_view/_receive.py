"""Storing OTLP requests, and the answers that report rejected records."""

from __future__ import annotations

from google.protobuf.message import Message

from obs_view._bad_records import LOGS, METRICS, Parsed, Signal
from obs_view._store import Store
from obs_view._text import plural


def receive(store: Store, parsed: Parsed, signal: Signal) -> Message:
    """Store the request's spans, log records or metrics; the answer tells the sender how many were rejected, and why.

    A metric that is rejected counts as one, though OTLP counts points: how many it has cannot be known.
    """
    without_ids = _add(store, parsed, signal)
    reasons = []
    if without_ids:
        spans = plural(without_ids, signal.noun)
        reasons.append(
            f"{spans} without a valid trace id (16 bytes) and span id (8 bytes)"
        )
    if parsed.rejected:
        records = plural(parsed.rejected, signal.noun)
        reasons.append(
            f"{records} with values that OTLP does not allow: {parsed.reason:.300}"
        )
    answer: Message = signal.response()
    if reasons:
        report = answer.partial_success
        setattr(report, signal.rejected, without_ids + parsed.rejected)
        report.error_message = "; ".join(reasons)
    return answer


def _add(store: Store, parsed: Parsed, signal: Signal) -> int:
    """Store the records; return how many have no valid ids, which spans need."""
    if signal is LOGS:
        store.logs.add(parsed.request)
    elif signal is METRICS:
        store.metrics.add(parsed.request)
    else:
        return store.add(parsed.request)
    return 0
