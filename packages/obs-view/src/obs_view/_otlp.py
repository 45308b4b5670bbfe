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
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from obs_view._model import Event, Link, Span
from obs_view._read_json import IDS, parse_json
from obs_view._read_protobuf import parse_protobuf
from obs_view._request import BadRequestError, Parsed

PROTOBUF, JSON = "application/x-protobuf", "application/json"
KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUS = ("UNSET", "OK", "ERROR")


def parse(body: bytes, content_type: str) -> Parsed:
    """Parse an export request.

    Raises:
        BadRequestError: 400 where the body is not what `content_type` says, 415 for a type that OTLP does not have.
    """
    if content_type == PROTOBUF:
        return parse_protobuf(body)
    if content_type == JSON:
        return parse_json(body)
    raise BadRequestError(
        415, f"content type {content_type!r} is not OTLP: send {PROTOBUF} or {JSON}"
    )


def to_json(request: ExportTraceServiceRequest) -> dict[str, Any]:
    """Return `request` as OTLP-JSON, the inverse of `parse_json`."""
    document: dict[str, Any] = json_format.MessageToDict(request, use_integers_for_enums=True)
    for group in document.get("resourceSpans", ()):
        for scope in group["scopeSpans"]:
            for span in scope["spans"]:
                for item in (span, *span.get("links", ())):
                    _to_hex(item)
    return document


def _to_hex(item: dict[str, Any]) -> None:
    item.update({key: base64.b64decode(item[key]).hex() for key in IDS if key in item})


# gzip; zlib's format, which HTTP calls deflate; and bare deflate, which some send under that name
_WINDOWS = {"gzip": (31,), "deflate": (15, -15)}
ENCODINGS = ("identity", *_WINDOWS)


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Return `body` decompressed; `encoding` is one of ENCODINGS.

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
            413, f"the body has more than {limit} bytes when decompressed: send smaller batches"
        )
    if not inflater.eof:
        raise BadRequestError(400, f"the {encoding} body is truncated")
    return plain


def status_message(code: int, message: str, content_type: str) -> bytes:
    """Encode a ``google.rpc.Status``, what OTLP/HTTP answers errors with."""
    if content_type == JSON:
        return json.dumps({"code": code, "message": message}).encode()
    text = message.encode()[:500]
    length = (
        bytes([len(text)]) if len(text) < 128 else bytes([len(text) & 127 | 128, len(text) >> 7])
    )
    return b"\x08" + bytes([code]) + b"\x12" + length + text


def valid_ids(span: ProtoSpan) -> bool:
    """Whether the span has a 16-byte trace id and an 8-byte span id, neither all zero."""
    return (
        len(span.trace_id) == 16
        and len(span.span_id) == 8
        and any(span.trace_id)
        and any(span.span_id)
    )


def to_span(raw: bytes, resource: Mapping[str, Any], scope: str) -> Span:
    """Decode a stored span; `resource` are its resource's attributes, `scope` is the instrumentation's name."""
    span = ProtoSpan.FromString(raw)
    return Span(
        name=span.name,
        service=str(resource.get("service.name", "unknown_service")),
        kind=KINDS[span.kind] if 0 <= span.kind < len(KINDS) else "UNSPECIFIED",
        status=_STATUS[span.status.code] if 0 <= span.status.code < len(_STATUS) else "UNSET",
        description=span.status.message,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() if any(span.parent_span_id) else "",
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        resource=resource,
        scope=scope,
        events=tuple(
            Event(event.name, event.time_unix_nano, _attributes(event.attributes))
            for event in span.events
        ),
        links=tuple(
            Link(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes))
            for link in span.links
        ),
    )


def service_name(resource: Resource) -> str:
    """Return ``service.name``, or ``unknown_service``."""
    names = (str(_value(pair.value)) for pair in resource.attributes if pair.key == "service.name")
    return next(names, "unknown_service")


def attributes_of(resource: Resource) -> dict[str, Any]:
    """Decode a resource's attributes."""
    return _attributes(resource.attributes)


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_value(item) for item in value.array_value.values]
    if which == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    if which == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    plain = getattr(value, which) if which else None
    # JSON has no NaN and no infinity
    return str(plain) if isinstance(plain, float) and not math.isfinite(plain) else plain
