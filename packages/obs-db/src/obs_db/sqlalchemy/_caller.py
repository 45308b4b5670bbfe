"""The caller of a statement: the nearest frame outside SQLAlchemy and this package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType

_INNER = ("sqlalchemy", "obs_db", "obs_core", "opentelemetry")


def caller_attributes() -> dict[str, str | int]:
    """Return ``code.*`` of the line that ran the statement, or an empty mapping if unknown.

    Works through SQLAlchemy's greenlets too.
    """
    for frame in _frames():
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _INNER:
            code = frame.f_code
            name = getattr(code, "co_qualname", code.co_name)
            return {
                "code.file.path": code.co_filename,
                "code.line.number": frame.f_lineno,
                "code.function.name": name,
            }
    return {}


def _frames() -> Iterator[FrameType]:
    yield from _chain(sys._getframe(1))
    greenlet = sys.modules.get("greenlet")
    current = greenlet and greenlet.getcurrent().parent
    while current is not None:
        yield from _chain(current.gr_frame)
        current = current.parent


def _chain(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
