"""Values as one safe line of text."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|µs|ms|s|min|h)?")
_NANOSECONDS = {"us": 1e3, "µs": 1e3, "ms": 1e6, None: 1e6, "s": 1e9, "min": 60e9, "h": 3600e9}
_UNITS = ((60 * 10**9, "min"), (10**9, "s"), (10**6, "ms"), (10**3, "µs"))


def clean(value: Any, limit: int = 500) -> str:
    """Return `value` as one line without control characters (they could drive the terminal), cut to `limit` characters."""
    text = _ANSI.sub("", str(value))
    text = text[: limit - 1] + "…" if len(text) > limit else text
    return "".join(_visible(character) for character in " ".join(text.split()))


def _visible(character: str) -> str:
    return (
        character
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn")
        else "\N{REPLACEMENT CHARACTER}"
    )


def duration(nanoseconds: int) -> str:
    """Return a duration with three significant digits: ``1.24 s``, ``35.0 ms``, ``812 µs``."""
    for size, unit in _UNITS:
        if nanoseconds >= size:
            value = nanoseconds / size
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{digits}f} {unit}"
    return f"{nanoseconds} ns"


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
    short = f"{value:.3g}" if isinstance(value, float) else str(value).rpartition("/")[2]
    return f"{'.'.join(key.split('.')[-2:])}={short}"


def plural(count: int, noun: str) -> str:
    """Return ``1 span``, ``2 spans``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
