"""Finding traces among many: on the bytes as they came, so that nothing is decoded."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from obs_view._store import Store
from obs_view._stored_trace import StoredTrace
from obs_view._text import nanoseconds

_LIMIT = 200
Query = Mapping[str, str]


def find(store: Store, query: Query) -> dict[str, Any]:
    """Return the traces that fit `query`, the latest first, at most 200, and how many fit.

    Args:
        store: Where to look.
        query: ``q`` (words: each must be in the id, a name, a value or a key; ``key=value``: an attribute), ``service``,
            ``status`` (``error`` or ``ok``), ``min`` and ``max`` (durations as ``250ms``), ``since`` and ``until``
            (milliseconds since the epoch).

    Raises:
        ValueError: A duration or time is none.
    """
    # before the traces are read: what comes meanwhile is news for the next request
    sequence, tests = store.sequence, _tests(query)
    found = store.read(lambda entries: _find(entries, tests))
    return {"sequence": sequence, "count": store.count, "evicted": store.evicted, **found}


def _find(
    entries: Collection[StoredTrace], tests: list[Callable[[StoredTrace], bool]]
) -> dict[str, Any]:
    services = set().union(*(entry.summary.services for entry in entries))
    fitting = [entry for entry in entries if all(test(entry) for test in tests)]
    latest = heapq.nlargest(_LIMIT, fitting, key=lambda entry: entry.summary.start)
    return {
        "services": sorted(services),
        "total": len(fitting),
        "traces": [_row(entry) for entry in latest],
    }


def _row(entry: StoredTrace) -> dict[str, Any]:
    summary = entry.summary
    return {
        "id": entry.trace_id.hex(),
        "name": summary.root,
        "service": summary.root_service,
        "start": summary.start / 1e6,
        "duration": summary.duration,
        "spans": len(entry.spans),
        "errors": summary.errors,
        "complete": summary.complete,
        "services": dict(summary.services),
    }


def _tests(query: Query) -> list[Callable[[StoredTrace], bool]]:
    tests: list[Callable[[StoredTrace], bool]] = []
    service, status = query.get("service"), query.get("status")
    if service:
        tests.append(lambda entry: service in entry.summary.services)
    if status in ("error", "ok"):
        tests.append(lambda entry: bool(entry.summary.errors) == (status == "error"))
    for key, sign in (("min", 1), ("max", -1)):
        if query.get(key):
            tests.append(
                _bounded(sign, nanoseconds(query[key]), lambda entry: entry.summary.duration)
            )
    for key, sign in (("since", 1), ("until", -1)):
        if query.get(key):
            tests.append(
                _bounded(sign, int(float(query[key]) * 1e6), lambda entry: entry.summary.start)
            )
    return tests + [_word(word) for word in query.get("q", "").split()]


def _bounded(
    sign: int, bound: int, value: Callable[[StoredTrace], int]
) -> Callable[[StoredTrace], bool]:
    return lambda entry: sign * value(entry) >= sign * bound


def _word(word: str) -> Callable[[StoredTrace], bool]:
    key, _, value = word.partition("=")
    if key and value:
        return _attribute(_encodings(key, value))
    lower, plain = word.lower(), word.lower().encode()
    return lambda entry: (
        entry.trace_id.hex().startswith(lower)
        or any(lower in service.lower() for service in entry.summary.services)
        or any(plain in raw.lower() for raw, _ in entry.spans.values())
    )


def _attribute(encoded: list[bytes]) -> Callable[[StoredTrace], bool]:
    def fits(entry: StoredTrace) -> bool:
        for raw, _ in entry.spans.values():
            for part in encoded:
                if part in raw:
                    return True
        resources = {origin.resource for _, origin in entry.spans.values()}
        return any(part in resource for resource in resources for part in encoded)

    return fits


def _encodings(key: str, value: str) -> list[bytes]:
    """Return how protobuf writes the attribute, for each type that `value` may stand for."""
    values = [AnyValue(string_value=value)]
    if re.fullmatch(r"-?\d{1,18}", value):
        values.append(AnyValue(int_value=int(value)))
    if value.lower() in ("true", "false"):
        values.append(AnyValue(bool_value=value.lower() == "true"))
    if re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", value):
        values.append(AnyValue(double_value=float(value)))
    return [KeyValue(key=key, value=item).SerializeToString() for item in values]
