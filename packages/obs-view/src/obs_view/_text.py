"""Values as safe text of a single line."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|µs|ms|s|min|h)?")
_NANOSECONDS = {
    "us": 1e3,
    "µs": 1e3,
    "ms": 1e6,
    None: 1e6,
    "s": 1e9,
    "min": 60e9,
    "h": 3600e9,
}
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_UNITS = ((60 * 10**9, "min"), (10**9, "s"), (10**6, "ms"), (10**3, "µs"))


def clean(value: Any, limit: int = 500) -> str:
    """Return `value` as a line without control characters, which could drive the terminal, cut to `limit` characters."""
    text = _ANSI.sub("", str(value))
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    words = " ".join(text.split())
    return "".join(map(_visible, words))


def _visible(character: str) -> str:
    if unicodedata.category(character) in _UNSEEN:
        return "\N{REPLACEMENT CHARACTER}"
    return character


def duration(nanoseconds: int) -> str:
    """Return a duration with three significant digits: ``1.24 s``, ``35.0 ms``, ``812 µs``."""
    for size, unit in _UNITS:
        if nanoseconds >= size:
            value = nanoseconds / size
            return f"{value:.{_decimals(value)}f} {unit}"
    return f"{nanoseconds} ns"


def _decimals(value: float) -> int:
    """Return the number of decimals of three significant digits."""
    if value < 9.995:
        return 2
    return int(value < 99.95)


def nanoseconds(text: str) -> int:
    """Return the nanoseconds of ``250ms``, ``1.5s``, ``2min``, ``800us``, ``1h``; a bare number is milliseconds.

    Raises:
        ValueError: `text` is no duration.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no duration: write 250ms, 1.5s or 2min")
    return int(float(match[1]) * _NANOSECONDS[match[2]])


def remark(key: str, value: Any) -> str:
    """Return an attribute in few words: ``file.path=storage.py``, ``db.duration=0.707``."""
    last_parts = ".".join(key.split(".")[-2:])
    return f"{last_parts}={_short(value)}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value).rpartition("/")[2]


def plural(count: int, noun: str) -> str:
    """Return ``1 span``, ``2 spans``."""
    return f"{count:,} {noun}" + "s" * (count != 1)
