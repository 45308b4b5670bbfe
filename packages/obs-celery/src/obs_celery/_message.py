"""A task's message: its fields, and the headers that obs-celery adds.

| header | written by | read by | lifetime |
|---|---|---|---|
| `SENT_AT` | the producer | the child, the main process | this message |
| `PREVIOUS` | the producer of a retry | the child, the main process | this message |
| `RELATION_HEADER` | the user, or the producer of a chord's body | the child, the main process | the message and its retries |
| `ATTEMPT` | the main process, into the request | the child, the sender of a retry | this delivery, never on the wire |
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from datetime import datetime, timezone
from typing import Any

from opentelemetry.trace import SpanContext, TraceFlags

#: Epoch seconds.
SENT_AT = "obs-sent-at"
#: ``traceid-spanid`` of the attempt before a retry.
PREVIOUS = "obs-previous"
#: ``"parent"`` or ``"link"``.
RELATION_HEADER = "obs-relation"
#: The span id that main process and child agree on: see `obs_celery._supervise`.
ATTEMPT = "obs-attempt"
TRACEPARENT = "traceparent"

_SPAN_ID = re.compile(r"[0-9a-f]{16}")
_ATTEMPT_NAME = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})")


class Message:
    """A message that is about to be sent.

    Attributes:
        headers: May be changed.
        fields: The task's fields (``id``, ``task``, ``retries``, …).
        chord: The chord of which the task is a header, if any.
    """

    __slots__ = ("chord", "fields", "headers")

    fields: Mapping[str, Any]

    def __init__(self, headers: MutableMapping[str, Any], body: Any) -> None:
        self.headers = headers
        # protocol 2 has the fields in the headers and the canvas in the body; protocol 1 has both in the body
        is_protocol_2 = "id" in headers
        self.fields, canvas = (headers, body[2]) if is_protocol_2 else (body, body)
        self.chord: object = canvas.get("chord")

    @property
    def retries(self) -> int:
        """The number of attempts before."""
        return self.fields.get("retries") or 0

    def sender(self, app: Any) -> Any:
        """Return the task of this worker that sends the message, or None."""
        is_protocol_2 = self.fields is self.headers
        if is_protocol_2 and not self.fields.get("parent_id"):
            return None
        return app.current_worker_task


def header(request: Any, key: str) -> Any:
    """Return the header `key` of a task's request, or None; a ``tracestate`` only from beside the ``traceparent``."""
    fields = request.__dict__
    if key in fields and fields[key] is not None:
        return fields[key]
    if key == "tracestate" and TRACEPARENT in fields:
        return None
    nested = fields.get("headers")
    return nested.get(key) if isinstance(nested, dict) else None


def attempt_name(span: SpanContext) -> str:
    """Return how `PREVIOUS` names `span`."""
    return f"{span.trace_id:032x}-{span.span_id:016x}"


def previous_attempt(request: Any) -> SpanContext | None:
    """Return the span of the attempt that `request` repeats, or None."""
    value = header(request, PREVIOUS)
    named = _ATTEMPT_NAME.fullmatch(str(value))
    if named is None:
        return None
    trace_id, span_id = (int(part, 16) for part in named.groups())
    found = SpanContext(trace_id, span_id, True, TraceFlags(TraceFlags.SAMPLED))
    if not found.is_valid:
        return None
    return found


def drawn_span_id(request: Any) -> int | None:
    """Return the span id that the main process drew for this attempt, or None."""
    fields = request.__dict__
    if ATTEMPT not in fields:
        return None
    value = str(fields[ATTEMPT])
    # a stranger's message may say anything under our key
    if _SPAN_ID.fullmatch(value) is None:
        return None
    return int(value, 16) or None


def waits_s(request: Any, now_s: float) -> tuple[float | None, float]:
    """Return (queue wait, delay that the ETA asked for), in seconds and never below zero; no stamp: no wait."""
    sent = header(request, SENT_AT)
    if not isinstance(sent, (int, float)):
        return None, 0.0
    due = _epoch_s(request.eta) or sent
    delay = max(0.0, due - sent)
    return max(0.0, now_s - sent - delay), delay


def _epoch_s(eta: object) -> float | None:
    if isinstance(eta, str):
        try:
            eta = datetime.fromisoformat(eta.replace("Z", "+00:00"))
        except ValueError:
            return None
    if not isinstance(eta, datetime):
        return None
    if eta.tzinfo is None:
        eta = eta.replace(tzinfo=timezone.utc)
    return eta.timestamp()


def aware(eta: str) -> str:
    """Return `eta` with its offset: without one, workers take it for UTC, whatever ``timezone`` says."""
    has_offset = eta.endswith("Z") or "+" in eta or "-" in eta[10:]
    return eta if has_offset else f"{eta}+00:00"


def chord_id(chord: Any) -> str | None:
    """Return the task id of a chord's body, given the request's or message's ``chord``."""
    found = _item(_item(chord, "options"), "task_id")
    return str(found) if found else None


def _item(mapping: object, key: str) -> object:
    return mapping.get(key) if isinstance(mapping, Mapping) else None
