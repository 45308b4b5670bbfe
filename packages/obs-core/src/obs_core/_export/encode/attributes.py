"""Attributes as bytes: each (type, key, value) is encoded once, in a table of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any

from opentelemetry.attributes import BoundedAttributes

from obs_core._export.encode.recent import Recent
from obs_core._export.encode.sdk import attribute_by_sdk
from obs_core._export.encode.wire import delimited, signed, utf8, varint

#: A longer key or value is encoded each time: it is rarely the same twice, and memory is the program's.
MAX_KEPT_CHARACTERS = 64
#: A key with ever new values, such as an id, fills this many entries of the table, and again after as many refusals.
_MAX_VALUES, _REFUSALS = 64, 1024
_double = Struct("<3sd").pack
_BOOLEANS = {False: b"\x12\x02\x10\x00", True: b"\x12\x02\x10\x01"}
#: What stands before short text: the tags and lengths of the AnyValue and of the text in it.
_BEFORE_TEXT = tuple(bytes((0x12, size + 2, 0x0A, size)) for size in range(126))


class _OddValueError(Exception):
    """A value is left to the SDK's encoder."""


def _text(value: str) -> bytes:
    text = utf8(value)
    size = len(text)
    if size < 126:
        return _BEFORE_TEXT[size] + text
    return delimited(b"\x12", delimited(b"\x0a", text))


def _integer(value: int) -> bytes:
    try:
        number = signed(value)
    except OverflowError:
        raise _OddValueError from None
    return bytes((0x12, len(number) + 1, 0x18)) + number


def _float(value: float) -> bytes:
    return _double(b"\x12\x09\x21", value)


def _bytes(value: bytes) -> bytes:
    return delimited(b"\x12", delimited(b"\x3a", value))


def _array(value: tuple[Any, ...] | list[Any]) -> bytes:
    # an item differs from a value in the tag alone
    items = b"".join(b"\x0a" + _value(item)[1:] for item in value)
    return delimited(b"\x12", delimited(b"\x2a", items))


_ENCODERS: Mapping[type, Callable[[Any], bytes]] = {
    str: _text,
    bool: _BOOLEANS.__getitem__,
    int: _integer,
    float: _float,
    bytes: _bytes,
    tuple: _array,
    list: _array,
}
#: The types whose equal values have equal bytes: 0.0 equals -0.0, and (1,) equals (True,).
_KEPT = frozenset((str, bool, int))


def _value(value: Any) -> bytes:
    """Return the field `value` of a KeyValue.

    Raises:
        _OddValueError: The type is none of those that are encoded here; a subclass may be anything.
    """
    encode = _ENCODERS.get(type(value))
    if encode is None:
        raise _OddValueError
    return encode(value)


def any_value(value: Any, tag: bytes) -> bytes:
    """Return a field that holds an AnyValue; mappings and arrays at any depth.

    Raises:
        Exception: A value is of another type than those that are encoded here.
    """
    if type(value) is dict:
        return delimited(tag, delimited(b"\x32", pairs(value, b"\x0a")))
    if type(value) is list:
        items = b"".join(any_value(item, b"\x0a") for item in value)
        return delimited(tag, delimited(b"\x2a", items))
    return tag + _value(value)[1:]


def pairs(values: Mapping[str, Any], tag: bytes) -> bytes:
    """Return a field for each key and value; see `any_value`."""
    return b"".join(
        delimited(tag, delimited(b"\x0a", utf8(key)) + any_value(value, b"\x12"))
        for key, value in values.items()
    )


def plain(attributes: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return `attributes` in a form that is quick to read."""
    if type(attributes) is BoundedAttributes:
        # its own views take a lock and copy
        found: Mapping[str, Any] = attributes._dict
        return found
    return attributes


class _Key:
    """An attribute's key.

    Attributes:
        encoded: The field `key` of a KeyValue.
        room: How many more values the table keeps; below zero, refusals are counted.
        latest: The latest short text that the table did not keep, and its bytes: the spans of a request have the same ids.
    """

    __slots__ = ("encoded", "latest", "room")

    def __init__(self, key: str) -> None:
        self.encoded = delimited(b"\x0a", utf8(key))
        self.room = _MAX_VALUES
        self.latest: tuple[str | None, bytes] = (None, b"")
        if len(key) > MAX_KEPT_CHARACTERS:
            self.room = 0

    def keeps(self, value: Any) -> bool:
        """Whether the table keeps `value` too."""
        self.room -= 1
        if self.room < -_REFUSALS:
            self.room = _MAX_VALUES
        return self.room >= 0 and (
            type(value) is not str or len(value) <= MAX_KEPT_CHARACTERS
        )


class AttributeTable:
    """Encodes attributes; thread-safe.

    Args:
        tag: The tag of the field that holds an attribute.
    """

    def __init__(self, tag: bytes) -> None:
        self._tag = tag
        self._values: Recent[tuple[type, str, Any], bytes] = Recent(max_entries=4096)
        self._keys: Recent[str, _Key] = Recent(max_entries=512)

    def encoded(self, attributes: Mapping[str, Any]) -> list[bytes]:
        """Return the field of each attribute; empty for a value that OTLP cannot hold."""
        known, make = self._values.young.get, self._attribute
        try:
            return [
                known((type(value), key, value)) or make(key, value)
                for key, value in attributes.items()
            ]
        except TypeError:  # not all have a hash
            return [make(key, value) for key, value in attributes.items()]

    def _attribute(self, key: str, value: Any) -> bytes:
        kind = type(value)
        if type(key) is not str or kind not in _ENCODERS:
            return attribute_by_sdk(key, value, self._tag)
        name = self._keys.young.get(key) or self._key(key)
        if kind not in _KEPT:
            return self._new(name, key, value)
        text, encoded = name.latest
        if value is text:
            return encoded
        entry = kind, key, value
        found = self._values.young.get(entry)
        if found is None and name.room > 0:
            found = self._values.recall(entry)
        if found is None:
            found = self._new(name, key, value)
            if name.keeps(value):
                self._values.keep(entry, found)
            elif kind is str and len(value) <= MAX_KEPT_CHARACTERS:
                name.latest = value, found
        return found

    def _new(self, name: _Key, key: str, value: Any) -> bytes:
        try:
            content = _ENCODERS[type(value)](value)
        except _OddValueError:
            return attribute_by_sdk(key, value, self._tag)
        encoded = name.encoded
        return b"".join(
            (self._tag, varint(len(encoded) + len(content)), encoded, content)
        )

    def _key(self, key: str) -> _Key:
        found = self._keys.recall(key)
        if found is None:
            found = _Key(key)
            if len(key) <= MAX_KEPT_CHARACTERS:
                self._keys.keep(key, found)
        return found
