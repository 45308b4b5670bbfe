"""The trace context in message attributes and AWS's own header: in without touching what is the caller's, and out again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from obs_core.integration import call_contained, outgoing_context, warn_once
from opentelemetry.context import Context, get_current
from opentelemetry.propagate import extract, get_global_textmap, inject
from opentelemetry.propagators.aws import AwsXRayPropagator
from opentelemetry.trace import get_current_span

#: SQS delivers at most ten attributes of an SNS message, and takes no more of its own.
MAX_ATTRIBUTES = 10
#: The two sizes, in bytes, that AWS has limited a message and a batch to; attributes count.
_SIZE_LIMITS = (262_144, 1_048_576)
_XRAY = AwsXRayPropagator()
_XRAY_HEADER = "X-Amzn-Trace-Id"
XRAY_ATTRIBUTE = "AWSTraceHeader"

Headers = Mapping[str, str]


def context_headers(context: Context | None) -> dict[str, str]:
    """Return `context` as the global propagator writes it; a propagator that raises is logged and writes nothing."""
    headers: dict[str, str] = {}
    out = outgoing_context(get_current() if context is None else context)
    call_contained("propagator", inject, headers, out)
    return {name: value for name, value in headers.items() if value}


def xray_header(context: Context | None) -> str | None:
    """Return `context` as an X-Ray trace header, or None without a valid span."""
    headers: dict[str, str] = {}
    if get_current_span(context).get_span_context().is_valid:
        _XRAY.inject(headers, context)
    return headers.get(_XRAY_HEADER)


def on_before_call(params: dict[str, Any], **_: Any) -> None:
    """Put the X-Ray header on the request: a handler of botocore's event ``before-call``."""
    if header := call_contained("X-Ray propagator", xray_header, None):
        params["headers"][_XRAY_HEADER] = header


def with_headers(entry: Mapping[str, Any], headers: Headers) -> Mapping[str, Any]:
    """Return a copy of an SQS or SNS message with `headers` among its attributes, as many as have room; never changes it."""
    present = entry.get("MessageAttributes") or {}
    if not headers or not isinstance(present, Mapping):
        return entry
    ours = {name: {"DataType": "String", "StringValue": value} for name, value in headers.items()}
    room = MAX_ATTRIBUTES - len(present.keys() - ours.keys())
    if room < len(ours):
        warn_once(
            "obs-aws:attributes",
            "a message has no room for the whole trace context: AWS allows 10 message attributes",
        )
        ours = dict(list(ours.items())[: max(0, room)])
    return {**entry, "MessageAttributes": {**present, **ours}} if ours else entry


def with_xray_attribute(entry: Mapping[str, Any], header: str | None) -> Mapping[str, Any]:
    """Return a copy of an SQS message with the X-Ray `header` as system attribute, which does not count among the ten."""
    present = entry.get("MessageSystemAttributes") or {}
    if not header or not isinstance(present, Mapping) or XRAY_ATTRIBUTE in present:
        return entry
    ours = {XRAY_ATTRIBUTE: {"DataType": "String", "StringValue": header}}
    return {**entry, "MessageSystemAttributes": {**present, **ours}}


def fits(entries: Iterable[Mapping[str, Any]], headers: Headers) -> bool:
    """Whether messages that AWS would take without `headers` are still small enough with them."""
    messages = list(entries)
    size = sum(map(_size, messages))
    added = len(messages) * sum(
        len(name) + len(value) + len("String") for name, value in headers.items()
    )
    return not any(size <= limit < size + added for limit in _SIZE_LIMITS)


def _size(entry: Mapping[str, Any]) -> int:
    attributes = entry.get("MessageAttributes")
    named = attributes.items() if isinstance(attributes, Mapping) else ()
    values = (
        value
        for name, given in named
        if isinstance(given, Mapping)
        for value in (name, *given.values())
    )
    return sum(map(_length, (entry.get("MessageBody"), entry.get("Message"), *values)))


def _length(value: object) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    return len(value) if isinstance(value, (bytes, bytearray)) else 0


def header_names() -> list[str]:
    """Return the message attributes that the context may travel in."""
    return sorted(get_global_textmap().fields)


def extract_context(carrier: Headers, xray: str | None) -> Context:
    """Return the context that a message carries, an empty one where it carries none or garbage.

    The global propagator's headers count before AWS's own.
    """
    context = call_contained("propagator", extract, carrier, Context()) or Context()
    if xray and not get_current_span(context).get_span_context().is_valid:
        context = (
            call_contained("X-Ray propagator", _XRAY.extract, {_XRAY_HEADER: xray}, context)
            or context
        )
    return context
