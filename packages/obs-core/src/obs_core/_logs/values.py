"""Make values of log records exportable: plain types of a bounded size, secrets masked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from obs_core._safety.redaction import Redactor
from obs_core._safety.text import truncate

#: Of a text, in UTF-8: a batch must not exceed what collectors take at once (4 MiB).
MAX_TEXT_BYTES = 16_384
#: Of an array, or a mapping in a value.
_MAX_ITEMS = 128
_MAX_DEPTH = 4
_MAX_INTEGER = 1 << 63


def plain_value(name: str, value: object, redactor: Redactor) -> Any:
    """Return `value` in a form that OTLP has, masked where `name` or a name inside is secret. Never raises."""
    if redactor.is_sensitive(name):
        return redactor.value(name, value)
    return _plain(value, redactor, _MAX_DEPTH)


def _plain(value: object, redactor: Redactor, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return truncate(str(value), MAX_TEXT_BYTES)
    if kind is int:
        return value if _is_int64(value) else str(value)
    if kind is bool or kind is float:
        return value
    if depth and isinstance(value, Mapping):
        return _pairs(value, redactor, depth - 1)
    if depth and isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, redactor, depth - 1) for item in list(value)[:_MAX_ITEMS]]
    return text_of(value)


def _is_int64(value: Any) -> bool:
    return bool(-_MAX_INTEGER <= value < _MAX_INTEGER)


def _pairs(value: Mapping[Any, Any], redactor: Redactor, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in list(value.items())[:_MAX_ITEMS]:
        name = text_of(key)
        masked = redactor.is_sensitive(name)
        found[name] = (
            redactor.value(name, item) if masked else _plain(item, redactor, depth)
        )
    return found


def text_of(value: object) -> str:
    """Return ``str(value)``, shortened; a text that says so if it raises."""
    try:
        return truncate(str(value), MAX_TEXT_BYTES)
    except Exception as broken:  # noqa: BLE001 - the user's __str__ may raise anything
        return (
            f"<{type(value).__qualname__}: __str__ raised {type(broken).__qualname__}>"
        )
