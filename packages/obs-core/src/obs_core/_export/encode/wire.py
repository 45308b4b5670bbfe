"""The wire format of protobuf: varints and length-delimited fields (https://protobuf.dev/programming-guides/encoding/)."""

from __future__ import annotations

from collections.abc import Iterator

from obs_core._safety.text import exportable

#: The tags of the fields with a number up to 15, length-delimited, in a message.
FIELD = tuple(bytes((number << 3 | 2,)) for number in range(16))
#: Varints up to this number are prepared.
_PREPARED = 1 << 11


def _septets(number: int) -> Iterator[int]:
    while number > 127:
        yield number & 127 | 128
        number >>= 7
    yield number


_VARINTS = tuple(bytes(_septets(number)) for number in range(_PREPARED))


def varint(number: int) -> bytes:
    """Return a number that is not negative."""
    if number < _PREPARED:
        return _VARINTS[number]
    if number < 1 << 14:
        return bytes((number & 127 | 128, number >> 7))
    if number < 1 << 21:
        return bytes((number & 127 | 128, number >> 7 & 127 | 128, number >> 14))
    return bytes(_septets(number))


def signed(number: int) -> bytes:
    """Return an int64.

    Raises:
        OverflowError: The number is beyond 64 bits.
    """
    if 0 <= number < 1 << 63:
        return varint(number)
    return varint(int.from_bytes(number.to_bytes(8, "big", signed=True), "big"))


def delimited(tag: bytes, content: bytes) -> bytes:
    """Return a field with its length."""
    return b"".join((tag, varint(len(content)), content))


def utf8(text: str) -> bytes:
    """Return `text` in UTF-8, lone surrogates replaced."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return exportable(text).encode()


def optional(tag: bytes, text: str | None) -> bytes:
    """Return a field of text; nothing for empty text, as protobuf rules."""
    if not text:
        return b""
    return delimited(tag, utf8(text))
