"""The metrics that have come: the last point of each stream, in memory, bounded by count and age."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple, TypeVar

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    DataPointFlags,
    Exemplar,
    Metric,
)

from obs_view._stored_trace import Origin, Origins

MAX_STREAMS, MOST_EXEMPLARS = 10_000, 5
_DELTA = 1
_NO_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_KINDS = {
    "gauge": "gauge",
    "sum": "up-down counter",
    "histogram": "histogram",
    "exponential_histogram": "exponential histogram",
    "summary": "summary",
}

_T = TypeVar("_T")


class Head(NamedTuple):
    """What the points of a metric have in common; `data` is the name of OTLP's field that has them."""

    name: str
    unit: str
    description: str
    kind: str
    data: str


class StoredPoint(NamedTuple):
    """A point's bytes, and what searches need; `time` is nanoseconds since the epoch, `attributes` are sorted.

    `exemplars` are the latest that name a trace, of all points of the stream: a sender has each in one point alone.
    """

    raw: bytes
    head: Head
    origin: Origin
    attributes: tuple[bytes, ...]
    exemplars: tuple[bytes, ...]
    time: int
    seen: float


Stream = tuple[bytes, bytes, Head, tuple[bytes, ...]]


class MetricBook:
    """The last point of each stream, the latest come last; all methods may be called from any thread."""

    def __init__(
        self, max_streams: int, max_age_s: float, changed: threading.Condition
    ) -> None:
        """Keep at most `max_streams`, none without news for `max_age_s` seconds; `changed` is the store's lock.

        A stream is a metric of one resource and scope, with one set of attributes.
        """
        self.max_streams: int = max_streams
        self.max_age_s: float = max_age_s
        self.sequence: int = 0
        self._points: OrderedDict[Stream, StoredPoint] = OrderedDict()
        self._origins = Origins()
        self._changed = changed

    @property
    def count(self) -> int:
        """The number of streams."""
        return len(self._points)

    def add(self, request: ExportMetricsServiceRequest) -> None:
        """Keep the request's points, each in place of the one before it."""
        with self._changed:
            for group in request.resource_metrics:
                for scope in group.scope_metrics:
                    origin = self._origins.of(group.resource, scope.scope)
                    for metric in scope.metrics:
                        self._take(metric, origin)
            self._evict()
            self._changed.notify_all()

    def _take(self, metric: Metric, origin: Origin) -> None:
        now = time.monotonic()
        for head, point in _points(metric):
            pairs = sorted(pair.SerializeToString() for pair in point.attributes)
            attributes = tuple(pairs)
            stream = origin.resource, origin.scope, head, attributes
            before = self._points.pop(stream, None)
            self.sequence += 1
            # the sender says so of a stream that has ended
            if point.flags & _NO_VALUE:
                continue
            exemplars = _take_exemplars(point, before)
            raw, when = point.SerializeToString(), point.time_unix_nano
            self._points[stream] = StoredPoint(
                raw, head, origin, attributes, exemplars, when, now
            )

    def _evict(self) -> None:
        oldest = time.monotonic() - self.max_age_s
        while self._points:
            stream, point = next(iter(self._points.items()))
            if len(self._points) <= self.max_streams and point.seen >= oldest:
                return
            del self._points[stream]

    def clear(self) -> None:
        """Forget all."""
        with self._changed:
            self._points.clear()
            self.sequence += 1

    def read(self, function: Callable[[Collection[StoredPoint]], _T]) -> _T:
        """Call `function` under the lock with the points; return the result."""
        with self._changed:
            self._evict()
            return function(self._points.values())


def _points(metric: Metric) -> Iterator[tuple[Head, Any]]:
    """Yield the points of a metric, of any kind, with what they have in common."""
    data = metric.WhichOneof("data")
    if data is None:
        return
    held = getattr(metric, data)
    kind = _KINDS[data]
    if data == "sum" and held.is_monotonic:
        kind = "counter"
    if getattr(held, "aggregation_temporality", 0) == _DELTA:
        kind += ", delta"
    head = Head(metric.name, metric.unit, metric.description, kind, data)
    for point in held.data_points:
        yield head, point


def _take_exemplars(point: Any, before: StoredPoint | None) -> tuple[bytes, ...]:
    """Take the exemplars out of `point`; return the latest of them and of those from before."""
    if "exemplars" not in point.DESCRIPTOR.fields_by_name:
        return ()  # a summary
    held = before.exemplars if before else ()
    found = [Exemplar.FromString(raw) for raw in held]
    found += (exemplar for exemplar in point.exemplars if exemplar.trace_id)
    found.sort(key=lambda exemplar: -exemplar.time_unix_nano)
    latest = tuple(item.SerializeToString() for item in found[:MOST_EXEMPLARS])
    del point.exemplars[:]
    return latest
