"""OTLP protobuf requests; read record by record if a bad record (text that is not UTF-8) makes the request unreadable."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import DecodeError, Message

from obs_view._bad_records import (
    SPANS,
    UNREADABLE,
    BadRequestError,
    Builder,
    Parsed,
    Signal,
)

# field numbers, the same for spans and logs
_GROUPS, _RESOURCE, _SCOPES, _SCOPE, _RECORDS = 1, 1, 2, 1, 2
_ATTRIBUTES_OF_RESOURCE, _ATTRIBUTES_OF_SCOPE = 1, 3


def parse_protobuf(body: bytes, signal: Signal = SPANS) -> Parsed:
    """Parse a protobuf request.

    Raises:
        BadRequestError: 400 if `body` is not the message of `signal`.
    """
    try:
        return Parsed(signal.request.FromString(body))
    except UNREADABLE as error:
        try:
            return _build(body, signal)
        except DecodeError:
            name = signal.request.DESCRIPTOR.name
            raise BadRequestError(400, f"the body is no {name}: {error}") from error


def _build(body: bytes, signal: Signal) -> Parsed:
    builder = Builder(signal, _read)
    for group in _submessages(body, _GROUPS):
        resource = b"".join(_submessages(group, _RESOURCE))
        added = builder.add_group(builder.resource(resource, _attributes_of_resource))
        for scope in _submessages(group, _SCOPES):
            described = b"".join(_submessages(scope, _SCOPE))
            records = builder.add_scope(
                added, builder.scope(described, _attributes_of_scope)
            )
            for record in _submessages(scope, _RECORDS):
                builder.add_record(records, record)
    return builder.finish()


def _read(content: bytes, message: Message) -> Message:
    message.ParseFromString(content)
    return message


def _attributes_of_resource(content: bytes) -> Iterator[bytes]:
    return _submessages(content, _ATTRIBUTES_OF_RESOURCE)


def _attributes_of_scope(content: bytes) -> Iterator[bytes]:
    return _submessages(content, _ATTRIBUTES_OF_SCOPE)


def _submessages(content: bytes, field: int) -> Iterator[bytes]:
    """Yield the contents of a message's length-delimited field of that number.

    Raises:
        DecodeError: `content` is truncated, or no message.
    """
    position = 0
    while position < len(content):
        key, position = _varint(content, position)
        start, position = _skip(content, position, key & 7)
        if key == field << 3 | 2:
            yield content[start:position]


def _skip(content: bytes, position: int, wire_type: int) -> tuple[int, int]:
    """Return where the value at `position` starts and ends."""
    if wire_type == 0:
        return position, _varint(content, position)[1]
    length = {1: 8, 5: 4}.get(wire_type)
    if wire_type == 2:
        length, position = _varint(content, position)
    if length is None or position + length > len(content):
        raise DecodeError("truncated, or no protobuf message")
    return position, position + length


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """Return the value of the varint at `position`, and the end position."""
    value = 0
    for shift, byte in enumerate(content[position : position + 10]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, position + shift + 1
    raise DecodeError("truncated, or no protobuf message")
