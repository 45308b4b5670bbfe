"""The two kinds of a failed attempt: the collector takes nothing for now, or this batch is not wanted.

The exporters tell both by the same answer, so it is noted where the collector's answer passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from obs_core._export.verdict import pending_verdict

_T = TypeVar("_T")

#: What OTLP calls retryable: https://opentelemetry.io/docs/specs/otlp/#failures. 408 is what proxies say of a slow sender.
_STATUSES = frozenset((408, 429, 502, 503, 504))
_CODES = frozenset(
    (
        "ABORTED",
        "CANCELLED",
        "DATA_LOSS",
        "DEADLINE_EXCEEDED",
        "OUT_OF_RANGE",
        "RESOURCE_EXHAUSTED",
        "UNAVAILABLE",
    )
)


def note_status(status: int) -> None:
    """Note the status of an answer over HTTP."""
    pending_verdict().is_unavailable = status in _STATUSES


@contextmanager
def noting_silence(*errors: type[Exception]) -> Iterator[None]:
    """Note that nobody has answered where the block raises one of `errors`."""
    try:
        yield
    except errors:
        pending_verdict().is_unavailable = True
        raise


def noting_code(call: Callable[..., _T]) -> Callable[..., _T]:
    """Return the unary gRPC `call`, with its status code noted where it fails."""

    def noted(*args: Any, **options: Any) -> _T:
        try:
            return call(*args, **options)
        except Exception as error:
            code = getattr(error, "code", None)
            name = getattr(code(), "name", "") if callable(code) else ""
            pending_verdict().is_unavailable = name in _CODES
            raise

    return noted
