"""Inject the trace context into message attributes and AWS's header, and extract the context of a message.

The caller's objects are never changed: a copy carries the context.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from obs_core.integration import (
    call_contained,
    extract,
    inject,
    outgoing_context,
    warn_once,
)
from opentelemetry.context import Context, get_current
from opentelemetry.propagate import get_global_textmap
from opentelemetry.propagators.aws import AwsXRayPropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import get_current_span

#: SQS delivers at most ten attributes of an SNS message, and accepts at most ten.
MAX_ATTRIBUTES = 10
XRAY_ATTRIBUTE = "AWSTraceHeader"
#: The size in bytes, attributes included, that AWS limits a message and a batch to: formerly, and now.
_SIZE_LIMITS = (262_144, 1_048_576)
_XRAY = AwsXRayPropagator()
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_XRAY_HEADER = "X-Amzn-Trace-Id"

Headers = Mapping[str, str]
Entry = Mapping[str, Any]


def context_headers(context: Context | None) -> dict[str, str]:
    """Return the headers of the global propagator for `context`; {} and a log record if the propagator raises."""
    headers: dict[str, str] = {}
    outgoing = outgoing_context(get_current() if context is None else context)
    call_contained("propagator", inject, headers, outgoing)
    return {name: value for name, value in headers.items() if value}


def xray_header(context: Context | None) -> str | None:
    """Return the X-Ray trace header for `context`; None without a valid span."""
    headers: dict[str, str] = {}
    if get_current_span(context).get_span_context().is_valid:
        _XRAY.inject(headers, context)
    return headers.get(_XRAY_HEADER)


def on_before_call(params: dict[str, Any], **_: Any) -> None:
    """Set the X-Ray header of a request: a handler of botocore's event ``before-call``."""
    if header := call_contained("X-Ray propagator", xray_header, None):
        params["headers"][_XRAY_HEADER] = header


def on_before_send(propagator: TextMapPropagator) -> Callable[..., None]:
    """Return a handler of botocore's event ``before-send``, after the signature: proxies may change what is not signed."""

    def handler(request: Any, **_: Any) -> None:
        headers: dict[str, Any] = {}
        call_contained("propagator of boto3", propagator.inject, headers)
        for name, value in headers.items():
            if not _is_header(name, value):
                problem = f"the propagator of boto3 writes {name!r}, whose name or value no header can hold: left out"
                warn_once(f"obs-aws:header {name!r}", problem)
            elif name not in request.headers:
                request.headers[name] = value

    return handler


def _is_header(name: object, value: object) -> bool:
    if not (isinstance(name, str) and isinstance(value, str)):
        return False
    return bool(_TOKEN.fullmatch(name)) and value.isascii() and value.isprintable()


def with_headers(entry: Entry, headers: Headers) -> Entry:
    """Return a copy of an SQS or SNS message with `headers` among the attributes, as many as have room."""
    present = entry.get("MessageAttributes") or {}
    if not headers or not isinstance(present, Mapping):
        return entry
    room = max(0, MAX_ATTRIBUTES - len(present.keys() - headers.keys()))
    if room < len(headers):
        warn_once(
            "obs-aws:attributes",
            "a message has no room for the whole trace context: AWS allows 10 message attributes",
        )
    if room == 0:
        return entry
    added = {
        name: _text_attribute(value) for name, value in islice(headers.items(), room)
    }
    return {**entry, "MessageAttributes": {**present, **added}}


def with_xray_attribute(entry: Entry, header: str | None) -> Entry:
    """Return a copy of an SQS message with the X-Ray `header` as system attribute, which is not counted among the ten."""
    present = entry.get("MessageSystemAttributes") or {}
    if not header or not isinstance(present, Mapping) or XRAY_ATTRIBUTE in present:
        return entry
    return {
        **entry,
        "MessageSystemAttributes": {**present, XRAY_ATTRIBUTE: _text_attribute(header)},
    }


def _text_attribute(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


def fits(entries: list[Entry], headers: list[dict[str, str]]) -> bool:
    """Whether messages within AWS's size limit are still within the limit with `headers`, one for each message."""
    size = sum(map(_size, entries))
    full_size = size + sum(map(_added_size, headers))
    return not any(size <= limit < full_size for limit in _SIZE_LIMITS)


def _added_size(headers: Headers) -> int:
    text = "".join([*headers, *headers.values()])
    return len(text) + len("String") * len(headers)


def _size(entry: Entry) -> int:
    size = _length(entry.get("MessageBody")) + _length(entry.get("Message"))
    attributes = entry.get("MessageAttributes")
    if not isinstance(attributes, Mapping):
        return size
    for name, attribute in attributes.items():
        if isinstance(attribute, Mapping):
            size += _length(name) + sum(map(_length, attribute.values()))
    return size


def _length(value: object) -> int:
    if isinstance(value, str) and not value.isascii():
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, (str, bytes, bytearray)):
        return len(value)
    return 0


def header_names() -> list[str]:
    """Return the message attributes that the global propagator reads."""
    return sorted(get_global_textmap().fields)


def extract_context(carrier: Headers, xray: str | None) -> Context:
    """Return the context in `carrier`, or else in the X-Ray header; an empty context if neither can be read."""
    context = call_contained("propagator", extract, carrier, Context()) or Context()
    if xray and not get_current_span(context).get_span_context().is_valid:
        headers = {_XRAY_HEADER: xray}
        context = (
            call_contained("X-Ray propagator", _XRAY.extract, headers, context)
            or context
        )
    return context
