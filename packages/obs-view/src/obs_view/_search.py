"""Search of traces, on the received bytes, without decoding."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, TypeVar

from obs_view._conditions import Test, condition
from obs_view._query import terms
from obs_view._store import Store
from obs_view._stored_trace import StoredTrace
from obs_view._text import nanoseconds

LIMIT = 200
Query = Mapping[str, str]
Found = dict[str, Any]
_Records = TypeVar("_Records", covariant=True)
_SORTS: dict[str, Callable[[StoredTrace], int]] = {
    "start": lambda entry: entry.summary.start,
    "duration": lambda entry: entry.summary.duration,
    "spans": lambda entry: len(entry.spans),
    "errors": lambda entry: entry.summary.errors,
}


class Book(Protocol[_Records]):
    """Holds records of a kind; the store holds traces so."""

    @property
    def sequence(self) -> int:
        """A number that grows with each record that comes."""

    @property
    def count(self) -> int:
        """How many records are held."""

    def read(self, function: Callable[[_Records], Found]) -> Found:
        """Call `function` under the lock with the records; return the result."""


def find(store: Store, query: Query) -> dict[str, Any]:
    """Return the traces that fit `query`, and how many fit.

    Args:
        store: Where to look.
        query: ``q`` (see docs/view.md), ``service``, ``status`` (``error`` or ``ok``), ``min`` and ``max`` (durations as
            ``250ms``), ``since`` and ``until`` (milliseconds since the epoch); ``sort`` (``start``, ``duration``, ``spans``,
            ``errors``), greatest first; ``offset``: the number of traces to skip before the 200 returned.

    Raises:
        ValueError: A part of the query cannot be understood; the message says which.
    """
    tests = tests_of(query)
    sort = _SORTS.get(query.get("sort") or "start")
    if sort is None:
        raise ValueError(f"cannot sort by {query['sort']!r}: {', '.join(_SORTS)}")
    offset = offset_of(query.get("offset") or "0")
    found = found_in(store, lambda entries: _find(entries, tests, sort, offset))
    return {**found, "evicted": store.evicted}


def found_in(book: Book[_Records], find: Callable[[_Records], Found]) -> Found:
    """Return what `find` finds in the records of `book`, with the number and the sequence of these."""
    # before the records are read: what comes meanwhile is news for the next request
    sequence = book.sequence
    found = book.read(find)
    return {"sequence": sequence, "count": book.count, **found}


def _find(
    entries: Collection[StoredTrace],
    tests: list[Test],
    sort: Callable[[StoredTrace], int],
    offset: int,
) -> dict[str, Any]:
    services = set().union(*(entry.summary.services for entry in entries))
    fitting = [entry for entry in entries if all(test(entry) for test in tests)]
    first = heapq.nlargest(
        offset + LIMIT, fitting, key=lambda e: (sort(e), e.summary.start)
    )
    return {
        "services": sorted(services),
        "total": len(fitting),
        "offset": offset,
        "traces": [row(entry) for entry in first[offset:]],
    }


def row(entry: StoredTrace) -> dict[str, Any]:
    """Return a trace's row of the list."""
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


def tests_of(query: Query) -> list[Test]:
    """Return the conditions that a trace must fit, cheap conditions first.

    Raises:
        ValueError: A part of the query cannot be understood.
    """
    tests: list[Test] = []
    service, status = query.get("service"), query.get("status")
    if service:
        tests.append(lambda entry: service in entry.summary.services)
    if status in ("error", "ok"):
        tests.append(lambda entry: bool(entry.summary.errors) == (status == "error"))
    for key, sign, read, field in _BOUNDS:
        if text := query.get(key):
            tests.append(_bounded(sign, read(text), _SORTS[field]))
    parts = terms(query.get("q", ""))
    return [*tests, *map(condition, parts)]


def _bounded(sign: int, bound: int, value: Callable[[StoredTrace], int]) -> Test:
    least = sign * bound
    return lambda entry: sign * value(entry) >= least


def moment(text: str) -> int:
    """Return the nanoseconds since the epoch of a number of milliseconds.

    Raises:
        ValueError: `text` is no number.
    """
    try:
        return int(float(text) * 1e6)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{text!r} is no time: write milliseconds since the epoch"
        ) from error


#: Bounds of the query: key, 1 for a least value or -1 for a greatest, how the value is read, the trace's field.
_BOUNDS = (
    ("min", 1, nanoseconds, "duration"),
    ("max", -1, nanoseconds, "duration"),
    ("since", 1, moment, "start"),
    ("until", -1, moment, "start"),
)


def offset_of(text: str) -> int:
    """Return how many to leave out.

    Raises:
        ValueError: `text` is no whole number.
    """
    if not text.isdecimal():
        raise ValueError(f"{text!r} is no offset: write how many to leave out")
    return int(text)
