"""OTLP as bytes: requests in (protobuf or JSON), spans out, and OTLP-JSON again."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from obs_view._bad_records import LOGS, SPANS, BadRequestError, Parsed, Signal
from obs_view._model import Event, Link, Log, Span
from obs_view._read_json import IDS, parse_json
from obs_view._read_protobuf import parse_protobuf

PROTOBUF, JSON = "application/x-protobuf", "application/json"
KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_STATUS = {0: "UNSET", 1: "OK", 2: "ERROR"}


def parse(body: bytes, content_type: str, signal: Signal = SPANS) -> Parsed:
    """Parse an export request.

    Raises:
        BadRequestError: 400 for a body not of `content_type`, 415 for a type unknown to OTLP.
    """
    if content_type == PROTOBUF:
        return parse_protobuf(body, signal)
    if content_type == JSON:
        return parse_json(body, signal)
    raise BadRequestError(
        415, f"content type {content_type!r} is not OTLP: send {PROTOBUF} or {JSON}"
    )


def to_json(request: Message) -> dict[str, Any]:
    """Return a request for spans or logs as OTLP-JSON, the inverse of `parse_json`."""
    document: dict[str, Any] = json_format.MessageToDict(
        request, use_integers_for_enums=True
    )
    for signal in (SPANS, LOGS):
        for group in document.get(signal.groups, ()):
            for scope in group[signal.scopes]:
                for record in scope[signal.records]:
                    for item in (record, *record.get("links", ())):
                        _to_hex(item)
    return document


def _to_hex(item: dict[str, Any]) -> None:
    item.update({key: base64.b64decode(item[key]).hex() for key in IDS if key in item})


# gzip; zlib's format, which HTTP calls deflate; and bare deflate, which some send under that name
_WINDOWS = {"gzip": (31,), "deflate": (15, -15)}
ENCODINGS = ("identity", *_WINDOWS)


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Return `body` decompressed; `encoding` is in ENCODINGS.

    Raises:
        BadRequestError: 400 for a damaged body, 413 for more than `limit` bytes (the rest is not decompressed).
    """
    if encoding == "identity":
        return body
    *others, last = _WINDOWS[encoding]
    for window in others:
        with contextlib.suppress(zlib.error):
            return _inflate(body, window, encoding, limit)
    try:
        return _inflate(body, last, encoding, limit)
    except zlib.error as error:
        raise BadRequestError(400, f"the body is not {encoding}: {error}") from error


def _inflate(body: bytes, window: int, encoding: str, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits=window)
    plain = inflater.decompress(body, limit + 1)
    if len(plain) > limit:
        raise BadRequestError(
            413,
            f"the body has more than {limit} bytes when decompressed: send smaller batches",
        )
    if not inflater.eof:
        raise BadRequestError(400, f"the {encoding} body is truncated")
    return plain


def status_message(code: int, message: str, content_type: str) -> bytes:
    """Encode a ``google.rpc.Status``, OTLP/HTTP's answer to errors."""
    if content_type == JSON:
        return json.dumps({"code": code, "message": message}).encode()
    text = message.encode()[:500]
    return b"\x08" + bytes([code]) + b"\x12" + _varint(len(text)) + text


def _varint(number: int) -> bytes:
    """Encode a number below 2¹⁴."""
    if number < 128:
        return bytes([number])
    return bytes([number & 127 | 128, number >> 7])


def valid_ids(span: ProtoSpan) -> bool:
    """Whether the span has a 16-byte trace id and an 8-byte span id, neither all zero."""
    return (
        len(span.trace_id) == 16
        and len(span.span_id) == 8
        and any(span.trace_id)
        and any(span.span_id)
    )


def to_span(raw: bytes, resource: Mapping[str, Any], scope: str) -> Span:
    """Decode a stored span; `resource` has the resource's attributes, `scope` is the instrumentation's name."""
    span = ProtoSpan.FromString(raw)
    parent = span.parent_span_id.hex()
    return Span(
        name=span.name,
        service=str(resource.get("service.name", "unknown_service")),
        kind=kind_name(span.kind),
        status=_STATUS.get(span.status.code, "UNSET"),
        description=span.status.message,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=parent * bool(parent.strip("0")),
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        resource=resource,
        scope=scope,
        events=tuple(map(_event, span.events)),
        links=tuple(map(_link, span.links)),
    )


def kind_name(kind: int) -> str:
    """Return the name of a span kind's number; ``UNSPECIFIED`` for an unknown number."""
    if 0 <= kind < len(KINDS):
        return KINDS[kind]
    return "UNSPECIFIED"


def _event(event: ProtoSpan.Event) -> Event:
    return Event(event.name, event.time_unix_nano, _attributes(event.attributes))


def _link(link: ProtoSpan.Link) -> Link:
    return Link(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes))


def to_log(raw: bytes, service: str) -> Log:
    """Decode a stored log record."""
    record = LogRecord.FromString(raw)
    return Log(
        time=record.time_unix_nano or record.observed_time_unix_nano,
        severity=record.severity_number,
        level=record.severity_text or level_name(record.severity_number),
        body=_body_text(_value(record.body)),
        service=service,
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
        attributes=_attributes(record.attributes),
    )


def _body_text(body: Any) -> str:
    if isinstance(body, str):
        return body
    return json.dumps(body, ensure_ascii=False)


def level_name(severity: int) -> str:
    """Return the name of a severity number's range of four; empty for any other number."""
    if not 1 <= severity <= 24:
        return ""
    return LEVELS[(severity - 1) // 4]


def service_name(resource: Resource) -> str:
    """Return ``service.name``, or ``unknown_service``."""
    names = (
        str(_value(pair.value))
        for pair in resource.attributes
        if pair.key == "service.name"
    )
    return next(names, "unknown_service")


def attributes_of(holder: Any) -> dict[str, Any]:
    """Decode the attributes of a resource or a point of a metric."""
    return _attributes(holder.attributes)


def _attributes(pairs: Any) -> dict[str, Any]:
    # most values are text, and asking which one it is costs three times as much
    return {
        pair.key: value.string_value or value.int_value or _value(value)
        for pair in pairs
        for value in (pair.value,)
    }


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_value(item) for item in value.array_value.values]
    if which == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    if which == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if which is None:
        return None
    plain = getattr(value, which)
    # JSON has no NaN and no infinity
    if isinstance(plain, float) and not math.isfinite(plain):
        return str(plain)
    return plain
