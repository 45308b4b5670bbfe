"""The setting `Keep`: unsampled requests that are exported all the same."""

from __future__ import annotations

from dataclasses import dataclass, fields

from obs_core._config import validators as check
from obs_core._config.keywords import explain_unknown_options


@explain_unknown_options
@dataclass(frozen=True, kw_only=True)
class Keep:
    """Record unsampled requests in memory, and export those that fail, are slow, or are asked for by `keep_trace`.

    Attributes:
        errors: Whether a request with a span of status ERROR is kept. Default True.
        slower_than_s: A request is kept whose local root takes longer, in seconds. Default None: no request is slow.
        max_spans: Spans held of a request; the oldest is dropped first. Default 1,000.
        max_bytes: About how much memory held spans may take in a process, in bytes; the request that waits longest is
            dropped first. Default 33,554,432 (32 MiB).
        max_age_s: How long spans of a request that does not end are held, in seconds. Default 60.
        max_requests_per_s: Requests that a process keeps in a second by its own decision. Default 100.

    Raises:
        ConfigurationError: A value is wrong; the message says what, the value and the fix.
    """

    errors: bool = True
    slower_than_s: float | None = None
    max_spans: int = 1000
    max_bytes: int = 32 << 20
    max_age_s: float = 60.0
    max_requests_per_s: int = 100

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not item.default:
                checked = _CHECKS[item.name](f"keep.{item.name}", value)
                object.__setattr__(self, item.name, checked)


_CHECKS = {
    "errors": check.boolean,
    "slower_than_s": check.positive_seconds,
    "max_spans": check.positive_integer,
    "max_bytes": check.positive_integer,
    "max_age_s": check.positive_seconds,
    "max_requests_per_s": check.positive_integer,
}
