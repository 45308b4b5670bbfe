"""A condition of the search as a test of a trace, on the received bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from obs_view._otlp import KINDS
from obs_view._query import OPERATORS, QueryError, Term
from obs_view._stored_trace import StoredSpan, StoredTrace
from obs_view._text import nanoseconds

Test = Callable[[StoredTrace], bool]
BytesTest = Callable[[bytes], bool]
_T = TypeVar("_T")
_INTEGER = re.compile(r"-?\d{1,18}")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
_NUMBERS: dict[str, Callable[[StoredTrace], float]] = {
    "duration": lambda entry: entry.summary.duration,
    "spans": lambda entry: len(entry.spans),
    "errors": lambda entry: entry.summary.errors,
}
_FIELDS: dict[str, Callable[[StoredSpan], str]] = {
    "service": lambda span: span.operation.service,
    "name": lambda span: span.operation.name,
    "kind": lambda span: KINDS[span.operation.kind % len(KINDS)].lower(),
    "status": lambda span: "error" if span.failed else "ok",
}


def condition(term: Term) -> Test:
    """Return the test of a term.

    Raises:
        QueryError: The values of the term cannot be compared.
    """
    return as_asked(term, _test(term))


def as_asked(term: Term, fits: Callable[[_T], bool]) -> Callable[[_T], bool]:
    """Return the test `fits` of a term, or the opposite if the term is negated."""
    if term.negated:
        return lambda record: not fits(record)
    return fits


def _test(term: Term) -> Test:
    if not term.key:
        return _word(term.value)
    if term.key in _NUMBERS:
        return _compared(term, _NUMBERS[term.key])
    if term.operator in OPERATORS or term.key not in _FIELDS:
        return _attribute(attribute_test(term))
    return _field(_FIELDS[term.key], term.value.lower())


def attribute_test(term: Term) -> BytesTest:
    """Return the test of a record's bytes for a term with a key.

    Raises:
        QueryError: The term compares with a value that is no number.
    """
    if term.operator in OPERATORS:
        return _compared_attribute(term.key, OPERATORS[term.operator], number(term))
    return _equal_attribute(term.key, term.value)


def _compared(term: Term, value: Callable[[StoredTrace], float]) -> Test:
    bound = _bound(term)
    compare = OPERATORS.get(term.operator, float.__eq__)

    def fits(entry: StoredTrace) -> bool:
        return compare(float(value(entry)), bound) is True

    return fits


def _bound(term: Term) -> float:
    if term.key == "duration":
        return float(nanoseconds(term.value))
    return number(term)


def number(term: Term) -> float:
    """Return the number that a term compares with.

    Raises:
        QueryError: The value is no number.
    """
    try:
        return float(term.value)
    except ValueError:
        part = f"{term.key}{term.operator}{term.value}"
        raise QueryError(
            f"{part!r} compares with no number: write {term.key}>=500"
        ) from None


def _field(field: Callable[[StoredSpan], str], wanted: str) -> Test:
    return lambda entry: any(
        field(span).lower() == wanted for span in entry.spans.values()
    )


def _word(word: str) -> Test:
    lower, plain = word.lower(), word.lower().encode()
    return lambda entry: (
        entry.trace_id.hex().startswith(lower)
        or any(lower in service.lower() for service in entry.summary.services)
        or any(plain in span.raw.lower() for span in entry.spans.values())
    )


def _attribute(fits: BytesTest) -> Test:
    def fits_trace(entry: StoredTrace) -> bool:
        for span in entry.spans.values():
            if fits(span.raw):
                return True
        resources = {span.origin.resource for span in entry.spans.values()}
        return any(fits(resource) for resource in resources)

    return fits_trace


def _equal_attribute(key: str, value: str) -> BytesTest:
    prefix, wanted = _prefix(key), tuple(_encoded_values(key, value))

    def fits(raw: bytes) -> bool:
        position = raw.find(prefix)
        while position >= 0:
            if raw.startswith(wanted, position):
                return True
            position = raw.find(prefix, position + 1)
        return False

    return fits


def _compared_attribute(
    key: str, compare: Callable[[float, float], bool], bound: float
) -> BytesTest:
    prefix = _prefix(key)
    known: dict[bytes, bool] = {}

    def fits(raw: bytes) -> bool:
        position = raw.find(prefix)
        if position < 0:
            return False
        # what follows is the value's tag and its length
        start = position + len(prefix) + 2
        value = raw[start : start + raw[start - 1]]
        if value not in known:
            decoded = _decoded(value)
            known[value] = decoded is not None and compare(decoded, bound)
        return known[value]

    return fits


def _prefix(key: str) -> bytes:
    """Return how protobuf begins an attribute of that key."""
    return bytes(KeyValue(key=key).SerializeToString())


def _decoded(value: bytes) -> float | None:
    """Return the number of an encoded AnyValue: an integer, a double, or text of a number."""
    try:
        decoded = AnyValue.FromString(value)
        return float(getattr(decoded, decoded.WhichOneof("value") or "string_value"))
    except (DecodeError, ValueError, TypeError):
        return None


def _encoded_values(key: str, value: str) -> list[bytes]:
    """Return how protobuf writes the attribute, for each type that `value` may stand for."""
    lower = value.lower()
    values = [AnyValue(string_value=value)]
    if _INTEGER.fullmatch(value):
        values.append(AnyValue(int_value=int(value)))
    if lower in ("true", "false"):
        values.append(AnyValue(bool_value=lower == "true"))
    if _NUMBER.fullmatch(value):
        values.append(AnyValue(double_value=float(value)))
    pairs = [KeyValue(key=key, value=item) for item in values]
    return [pair.SerializeToString() for pair in pairs]
