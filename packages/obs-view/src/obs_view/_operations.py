"""Rates, errors and percentiles by service and operation, over the spans in the store."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from obs_view._otlp import kind_name
from obs_view._search import moment
from obs_view._store import Store
from obs_view._stored_trace import Operation, StoredSpan, StoredTrace
from obs_view._topology import topology

BUCKETS, MOST = 48, 500
_SECOND = 10**9
Key = tuple[str, str, int]


def operations(store: Store, query: Mapping[str, str]) -> dict[str, Any]:
    """Return count, rate, errors and duration percentiles of each operation, and the map of calls.

    Args:
        store: Where to look.
        query: ``service``, ``since`` and ``until`` (milliseconds since the epoch): spans that start in between.

    Raises:
        ValueError: A time is not valid.
    """
    since = moment(query["since"]) if query.get("since") else 0
    until = moment(query["until"]) if query.get("until") else 2**64
    service, sequence = query.get("service", ""), store.sequence

    def read(entries: Collection[StoredTrace]) -> dict[str, Any]:
        in_time = [entry for entry in entries if _overlaps(entry, since, until)]
        spans = [
            span
            for entry in in_time
            for span in entry.spans.values()
            if since <= span.start <= until
        ]
        services = sorted({span.operation.service for span in spans})
        if service:
            spans = [span for span in spans if span.operation.service == service]
        found = _statistics(spans)
        return {"services": services, **found, "map": topology(in_time)}

    return {"sequence": sequence, **store.read(read)}


def _overlaps(entry: StoredTrace, since: int, until: int) -> bool:
    summary = entry.summary
    return summary.end >= since and summary.start <= until


def _statistics(spans: list[StoredSpan]) -> dict[str, Any]:
    starts = [span.start for span in spans if span.start]
    start, end = min(starts, default=0), max(starts, default=0)
    width = max(1, (end - start) // BUCKETS + 1)
    by_key = _rows(spans, start, width)
    most = sorted(by_key.items(), key=lambda item: -item[1].count)[:MOST]
    seconds = (end - start) / _SECOND
    return {
        "from": start / 1e6,
        "bucket": width / 1e6,
        "spans": len(spans),
        "total": len(by_key),
        "operations": [_data(key, row, seconds) for key, row in most],
    }


def _rows(spans: Iterable[StoredSpan], start: int, width: int) -> dict[Key, _Row]:
    """Return the row of each operation, with buckets of `width` nanoseconds from `start`."""
    rows: dict[Operation, _Row] = {}
    for span in spans:
        row = rows.get(span.operation)
        if row is None:
            row = rows[span.operation] = _Row()
        row.add(span, (span.start - start) // width if span.start else 0)
    by_key: dict[Key, _Row] = {}
    for operation, row in rows.items():
        by_key.setdefault(_key(operation), _Row()).merge(row)
    return by_key


def _key(operation: Operation) -> Key:
    return operation.service, operation.name, operation.kind


class _Row:
    __slots__ = ("counts", "durations", "errors", "failures")

    def __init__(self) -> None:
        self.durations = array("Q")
        self.errors = 0
        self.counts, self.failures = [0] * BUCKETS, [0] * BUCKETS

    @property
    def count(self) -> int:
        return len(self.durations)

    def add(self, span: StoredSpan, bucket: int) -> None:
        self.durations.append(span.duration)
        self.counts[bucket] += 1
        if span.failed:
            self.errors += 1
            self.failures[bucket] += 1

    def merge(self, other: _Row) -> None:
        self.durations += other.durations
        self.errors += other.errors
        for bucket in range(BUCKETS):
            self.counts[bucket] += other.counts[bucket]
            self.failures[bucket] += other.failures[bucket]


def _rate(count: int, seconds: float) -> float | None:
    """Return spans per second; None for less than a second."""
    if seconds < 1:
        return None
    return count / seconds


def _data(key: Key, row: _Row, seconds: float) -> dict[str, Any]:
    service, name, kind = key
    ordered = sorted(row.durations)
    percentile = _percentile(ordered)
    return {
        "service": service,
        "name": name,
        "kind": kind_name(kind),
        "count": row.count,
        "rate": _rate(row.count, seconds),
        "errors": row.errors,
        "p50": percentile(50),
        "p95": percentile(95),
        "p99": percentile(99),
        "total": sum(ordered),
        "counts": row.counts,
        "failures": row.failures,
    }


def _percentile(ordered: list[int]) -> Callable[[int], int]:
    """Return the nearest-rank percentile of sorted numbers."""
    return lambda percent: ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
