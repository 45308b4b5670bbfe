"""The headers of a message: names, previous attempt, agreed span id, waiting times, chord."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from opentelemetry.trace import SpanContext, TraceFlags

#: Epoch seconds, stamped just before sending.
SENT_AT = "obs-sent-at"
#: ``traceid-spanid`` of the attempt before a retry.
PREVIOUS = "obs-previous"
#: ``"parent"`` or ``"link"``: set by the user for one call, or by a chord for its body.
RELATION_HEADER = "obs-relation"
#: Never on the wire: the main process gives it to the child within the request, see `obs_celery._supervise`.
ATTEMPT = "obs-attempt"
TRACEPARENT = "traceparent"

_SPAN_ID = re.compile(r"[0-9a-f]{16}")


def header(request: Any, key: str) -> Any:
    """Return the header `key` of a task's request, or None; a ``tracestate`` only from beside the ``traceparent``."""
    fields = vars(request)
    value = fields.get(key)
    if value is None and key == "tracestate" and TRACEPARENT in fields:
        return None
    if value is None and isinstance(nested := fields.get("headers"), dict):
        value = nested.get(key)
    return value


def attempt_name(span: SpanContext) -> str:
    """Return how `PREVIOUS` names `span`."""
    return f"{span.trace_id:032x}-{span.span_id:016x}"


def previous_attempt(request: Any) -> SpanContext | None:
    """Return the span of the attempt that `request` repeats, or None."""
    value = header(request, PREVIOUS)
    if not isinstance(value, str) or len(value) != 49:
        return None
    try:
        found = SpanContext(
            int(value[:32], 16), int(value[33:], 16), True, TraceFlags(TraceFlags.SAMPLED)
        )
    except ValueError:
        return None
    return found if found.is_valid else None


def drawn_span_id(request: Any) -> int | None:
    """Return the span id that the main process drew for this attempt, or None."""
    value = vars(request).get(ATTEMPT)
    # a stranger's message may say anything under our key
    return int(value, 16) or None if isinstance(value, str) and _SPAN_ID.fullmatch(value) else None


def waits_s(request: Any, now_s: float) -> tuple[float | None, float]:
    """Return (queue wait, delay that the ETA asked for), in seconds and never below zero; no stamp: no wait."""
    sent = header(request, SENT_AT)
    if not isinstance(sent, (int, float)):
        return None, 0.0
    due = _epoch_s(request.eta) if request.eta else None
    delay = max(0.0, due - sent) if due is not None else 0.0
    return max(0.0, now_s - sent - delay), delay


def _epoch_s(eta: object) -> float | None:
    if isinstance(eta, str):
        try:
            eta = datetime.fromisoformat(eta.replace("Z", "+00:00"))
        except ValueError:
            return None
    if not isinstance(eta, datetime):
        return None
    return (eta if eta.tzinfo else eta.replace(tzinfo=timezone.utc)).timestamp()


def chord_id(chord: Any) -> str | None:
    """Return the task id of a chord's body, given the request's or message's ``chord``."""
    options = chord.get("options") if isinstance(chord, Mapping) else None
    found = options.get("task_id") if isinstance(options, Mapping) else None
    return str(found) if found else None
