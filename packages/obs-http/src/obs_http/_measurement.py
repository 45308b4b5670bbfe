"""One request as it is measured: its duration, the sizes of its bodies, and that it is in progress."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

from obs_core.integration import call_contained
from opentelemetry.util.types import AttributeValue

from obs_http._metrics import Instruments

_MAX_DIGITS = 15


class Measurement:
    """Measures a request.

    Args:
        made: The instruments.
        attributes: What is known at the start; see below.
        active: The attributes of the request in progress.

    Attributes:
        attributes: The measurement's attributes: of low cardinality, with the same values as on the span.
        former: More attributes of the former metrics, which have no stable name here.
        request_bytes: The size of the request's body; None: not known.
        response_bytes: The size of the response's body; None: not known.
    """

    __slots__ = (
        *("_active", "_counts", "_elapsed_s", "_made", "_started"),
        *("attributes", "former", "request_bytes", "response_bytes"),
    )

    def __init__(
        self,
        made: Instruments,
        attributes: dict[str, AttributeValue],
        active: Mapping[str, AttributeValue],
    ) -> None:
        self._made = made
        self._started = perf_counter()
        self._elapsed_s: float | None = None
        self._active = dict(active)
        self._counts = False
        self.attributes = attributes
        self.former: Mapping[str, AttributeValue] = {}
        self.request_bytes: int | None = None
        self.response_bytes: int | None = None
        self._count(1)

    @property
    def has_former(self) -> bool:
        """Whether the former metrics are recorded too."""
        return self._made.former is not None

    def _count(self, change: int) -> None:
        if (active := self._made.active) is not None:
            call_contained("counting a request", active.add, change, self._active)

    def begin_response(self, status: int, length: object) -> None:
        """Note the size that a response states, if it has a body; without one, `count` counts."""
        if self._active["http.request.method"] == "HEAD" or status in (204, 304):
            return
        self.response_bytes = body_length(length)
        self._counts = self.response_bytes is None

    def count(self, chunk: object) -> None:
        """Add a part of the response's body."""
        if self._counts and isinstance(chunk, bytes):
            self.response_bytes = (self.response_bytes or 0) + len(chunk)

    def hold(self) -> None:
        """Stop the time; attributes may still be added."""
        self._elapsed_s = perf_counter() - self._started

    def stop(self) -> None:
        """Record the request, with the time from the start to now, or to `hold`. Never raises."""
        if self._elapsed_s is None:
            self.hold()
        self._count(-1)
        call_contained("measuring a request", self._record, self._elapsed_s or 0.0)

    def _record(self, elapsed_s: float) -> None:
        made = self._made
        if made.duration_s is not None:
            made.duration_s.record(elapsed_s, self.attributes)
        if self.request_bytes is not None:
            made.request_size.record(self.request_bytes, self.attributes)
        if self.response_bytes is not None:
            made.response_size.record(self.response_bytes, self.attributes)
        if made.former is not None:
            self._record_former(elapsed_s)

    def _record_former(self, elapsed_s: float) -> None:
        former = self._made.former
        assert former is not None
        attributes = {**former.names.of(self.attributes), **self.former}
        former.duration_ms.record(round(elapsed_s * 1000), attributes)
        if former.request_size is not None and self.request_bytes is not None:
            former.request_size.record(self.request_bytes, attributes)
        if former.response_size is not None and self.response_bytes is not None:
            former.response_size.record(self.response_bytes, attributes)


def body_length(value: object) -> int | None:
    """Return what a ``Content-Length`` header says, in bytes; None: nothing that can be a length."""
    written = value.decode("latin-1") if isinstance(value, bytes) else value
    if isinstance(written, str) and written.isdecimal() and len(written) <= _MAX_DIGITS:
        return int(written)
    return None
