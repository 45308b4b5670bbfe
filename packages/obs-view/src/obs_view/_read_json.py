"""OTLP-JSON requests: ids are hex where protobuf's JSON has base64, and null is an absent value."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from obs_view._bad_records import (
    SPANS,
    UNREADABLE,
    BadRequestError,
    Builder,
    Parsed,
    Signal,
)

IDS = ("traceId", "spanId", "parentSpanId")
_HEX_ID = re.compile("([0-9a-fA-F]{2})*")


def parse_json(body: bytes | str, signal: Signal = SPANS) -> Parsed:
    """Parse an OTLP-JSON request.

    Raises:
        BadRequestError: 400 where `body` is not OTLP-JSON.
    """
    try:
        document = json.loads(body)
        groups = document.get(signal.groups) or []
        if not isinstance(groups, list):
            raise TypeError(f"{signal.groups} is no array")
    except UNREADABLE as error:
        raise BadRequestError(400, f"the body is not OTLP-JSON: {error}") from error
    return _build(groups, signal)


def _build(groups: list[Any], signal: Signal) -> Parsed:
    builder = Builder(signal, _read)
    for group in _objects(groups, builder):
        added = builder.add_group(builder.resource(group.get("resource"), _attributes))
        for scope in _objects(group.get(signal.scopes), builder):
            records = builder.add_scope(
                added, builder.scope(scope.get("scope"), _attributes)
            )
            for record in _objects(scope.get(signal.records), builder):
                builder.add_record(records, record)
    return builder.finish()


def _objects(items: Any, builder: Builder) -> Iterator[dict[str, Any]]:
    if items is not None and not isinstance(items, list):
        builder.reject(f"{items!r:.50} is no array")
        return
    for item in items or ():
        if isinstance(item, dict):
            yield item
        elif item is not None:
            builder.reject(f"{item!r:.50} is no object")


def _attributes(holder: Any) -> list[Any]:
    if not isinstance(holder, dict):
        return []
    pairs = holder.get("attributes")
    return pairs if isinstance(pairs, list) else []


def _read(document: Any, message: Message) -> Message:
    document = document or {}
    for item in _with_ids(document):
        for key in IDS:
            if key in item:
                item[key] = _base64_id(item[key])
    json_format.ParseDict(document, message, ignore_unknown_fields=True)
    return message


def _with_ids(record: dict[str, Any]) -> Iterator[Any]:
    """Yield what may have ids: a record, the links of a span, the exemplars of a metric's points."""
    yield record
    yield from record.get("links") or ()
    for data in record.values():
        if isinstance(data, dict):
            for point in data.get("dataPoints") or ():
                yield from point.get("exemplars") or ()


def _base64_id(value: Any) -> str:
    """Return a hex id as base64; any other value becomes an empty id, which makes this record alone invalid."""
    if not isinstance(value, str) or not _HEX_ID.fullmatch(value):
        return ""
    return base64.urlsafe_b64encode(bytes.fromhex(value)).decode()
