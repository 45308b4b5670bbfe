"""Search of metrics, and what the page is given of each point."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)

from obs_view._conditions import as_asked, attribute_test
from obs_view._metrics import StoredPoint
from obs_view._otlp import attributes_of
from obs_view._page_data import safe
from obs_view._query import Term, terms
from obs_view._search import found_in, offset_of
from obs_view._store import Store

LIMIT = 200
PointTest = Callable[[StoredPoint], bool]
_MESSAGES: dict[str, Any] = {
    "gauge": NumberDataPoint,
    "sum": NumberDataPoint,
    "histogram": HistogramDataPoint,
    "exponential_histogram": ExponentialHistogramDataPoint,
    "summary": SummaryDataPoint,
}


def find_metrics(store: Store, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the streams that fit `query`, 200 by name, service and attributes, and how many fit.

    Args:
        store: Where to look.
        query: ``q`` (words, ``name=``, ``service=``, attributes of the point and of the resource), ``service``, ``offset``.

    Raises:
        ValueError: A part of the query cannot be understood; the message says which.
    """
    tests = _tests(query)
    offset = offset_of(query.get("offset") or "0")
    return found_in(store.metrics, lambda points: _find(points, tests, offset))


def _find(
    points: Collection[StoredPoint], tests: list[PointTest], offset: int
) -> dict[str, Any]:
    fitting = [point for point in points if all(test(point) for test in tests)]
    fitting.sort(key=_place)
    return {
        "services": sorted({point.origin.service for point in points}),
        "total": len(fitting),
        "offset": offset,
        "metrics": [_data(point) for point in fitting[offset : offset + LIMIT]],
    }


def _place(point: StoredPoint) -> tuple[object, ...]:
    """Return where the stream stands in the list: a new point does not move it."""
    origin = point.origin
    return point.head.name, origin.service, point.attributes, origin.resource


def _tests(query: Mapping[str, str]) -> list[PointTest]:
    tests: list[PointTest] = []
    if service := query.get("service"):
        tests.append(lambda point: point.origin.service == service)
    return [*tests, *map(_condition, terms(query.get("q", "")))]


def _condition(term: Term) -> PointTest:
    return as_asked(term, _keyed(term) if term.key else _word(term.value))


def _keyed(term: Term) -> PointTest:
    value = term.value.lower()
    if term.key == "service":
        return lambda point: point.origin.service.lower() == value
    if term.key == "name":
        return lambda point: point.head.name.lower() == value
    fits = attribute_test(term)
    return lambda point: fits(point.raw) or fits(point.origin.resource)


def _word(word: str) -> PointTest:
    lower, plain = word.lower(), word.lower().encode()
    return lambda point: (
        lower in point.head.name.lower()
        or lower in point.origin.service.lower()
        or plain in point.raw.lower()
    )


def _data(stored: StoredPoint) -> dict[str, Any]:
    """Return what the page shows of a stream."""
    head, point = stored.head, _MESSAGES[stored.head.data].FromString(stored.raw)
    resource, scope = stored.origin.decoded()
    found: dict[str, Any] = {
        "name": head.name,
        "unit": head.unit,
        "description": head.description,
        "kind": head.kind,
        "service": stored.origin.service,
        "instance": resource.get("service.instance.id", ""),
        "scope": scope,
        "time": stored.time,
        "attributes": attributes_of(point),
        "exemplars": [_exemplar(raw) for raw in stored.exemplars],
        **_VALUES[head.data](point),
    }
    return {key: safe(_finite(value)) for key, value in found.items()}


def _number(point: Any) -> dict[str, Any]:
    which = point.WhichOneof("value")
    return {"value": getattr(point, which) if which else None}


def _sums(point: Any) -> dict[str, Any]:
    """Return count, sum, and the extremes where the sender has them."""
    optional = (name for name in ("min", "max") if _has(point, name))
    extremes = {name: getattr(point, name) for name in optional}
    return {"count": point.count, "sum": point.sum, **extremes}


def _has(point: Any, field: str) -> bool:
    return field in point.DESCRIPTOR.fields_by_name and point.HasField(field)


def _histogram(point: Any) -> dict[str, Any]:
    bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
    return {**_sums(point), "bounds": bounds, "counts": counts}


_VALUES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "gauge": _number,
    "sum": _number,
    "histogram": _histogram,
    "exponential_histogram": _sums,
    "summary": _sums,
}


def _exemplar(raw: bytes) -> dict[str, Any]:
    exemplar = Exemplar.FromString(raw)
    return {
        "time": exemplar.time_unix_nano,
        "trace": exemplar.trace_id.hex(),
        "span": exemplar.span_id.hex(),
        **_number(exemplar),
    }


def _finite(value: Any) -> Any:
    """Return `value` with texts for NaN and infinity, which JSON has not."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
