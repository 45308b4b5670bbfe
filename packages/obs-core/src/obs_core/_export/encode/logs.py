"""Log records as bytes of OTLP's LogRecord message (https://github.com/open-telemetry/opentelemetry-proto)."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

from opentelemetry.trace import SpanContext

from obs_core._export.encode.attributes import AttributeTable, any_value, pairs
from obs_core._export.encode.recent import Recent
from obs_core._export.encode.wire import FIELD, delimited, utf8, varint

_LOW = (1 << 64) - 1
_times = Struct("<BQBQ").pack
_ids = Struct(">2sQQ2sQ").pack
_flags = Struct("<BI").pack
_Level: TypeAlias = tuple[int, str]


class LogEntry(NamedTuple):
    """A log record in OTLP's terms.

    Attributes:
        time_ns: Since the epoch, when the event happened.
        observed_ns: Since the epoch, when the record was seen here.
        severity: 1 to 24, or 0 for none.
        severity_text: The level's name.
        body: Text, or a mapping.
        attributes: Text, numbers and truth values.
        nested: More attributes: lists and dictionaries of such values, at any depth.
        dropped: How many attributes were left out.
        context: The current span's ids, if any.
    """

    time_ns: int
    observed_ns: int
    severity: int
    severity_text: str
    body: Any
    attributes: Mapping[str, Any]
    nested: Mapping[str, Any]
    dropped: int
    context: SpanContext | None


class LogEncoder:
    """Encodes log records; thread-safe. Tables keep the bytes of levels and attributes: see `Recent` for their bounds."""

    def __init__(self) -> None:
        self._attributes = AttributeTable(FIELD[6])
        self._levels: Recent[_Level, bytes] = Recent(max_entries=64)

    def encode(self, entry: LogEntry) -> bytes:
        """Return the LogRecord message.

        Raises:
            Exception: A value is of no plain type.
        """
        parts = [
            _times(0x09, entry.time_ns, 0x59, entry.observed_ns),
            self._level(entry.severity, entry.severity_text),
            any_value(entry.body, b"\x2a"),
            *self._attributes.encoded(entry.attributes),
            pairs(entry.nested, FIELD[6]),
        ]
        if entry.dropped:
            parts.append(b"\x38" + varint(entry.dropped))
        if entry.context is not None:
            trace_id, span_id, _, flags, _, _ = entry.context
            parts.append(_flags(0x45, flags))
            high, low = trace_id >> 64, trace_id & _LOW
            parts.append(_ids(b"\x4a\x10", high, low, b"\x52\x08", span_id))
        return b"".join(parts)

    def _level(self, severity: int, text: str) -> bytes:
        key: _Level = severity, text
        found = self._levels.recall(key)
        if found is None:
            number = bytes((0x10, severity)) if severity else b""
            found = number + delimited(FIELD[3], utf8(text))
            self._levels.keep(key, found)
        return found
