"""Search of log records, on the received bytes; only found records are decoded."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from obs_view._conditions import as_asked, attribute_test
from obs_view._logs import StoredLog
from obs_view._otlp import LEVELS
from obs_view._page_data import log_data
from obs_view._query import Term, terms
from obs_view._search import found_in, moment, offset_of
from obs_view._store import Store

LIMIT = 200
LogTest = Callable[[StoredLog], bool]


def find_logs(store: Store, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the log records that fit `query`, the latest 200 first, and how many fit.

    Args:
        store: Where to look.
        query: ``q`` (as for traces; a word may be the start of a trace's id), ``service``, ``level`` (the least one:
            ``WARN``), ``since`` and ``until`` (milliseconds since the epoch), ``offset``.

    Raises:
        ValueError: A part of the query cannot be understood; the message says which.
    """
    tests = _tests(query)
    offset = offset_of(query.get("offset") or "0")
    return found_in(store.logs, lambda logs: _find(logs, tests, offset))


def _find(
    logs: Iterable[StoredLog], tests: list[LogTest], offset: int
) -> dict[str, Any]:
    services, fitting = set(), []
    for log in logs:
        services.add(log.origin.service)
        if all(test(log) for test in tests):
            fitting.append(log)
    latest = heapq.nlargest(offset + LIMIT, fitting, key=lambda log: log.time)
    return {
        "services": sorted(services),
        "total": len(fitting),
        "offset": offset,
        "logs": [log_data(log.decoded()) for log in latest[offset:]],
    }


def _tests(query: Mapping[str, str]) -> list[LogTest]:
    tests: list[LogTest] = []
    if service := query.get("service"):
        tests.append(lambda log: log.origin.service == service)
    if level := query.get("level"):
        least = _severity_of(level.upper())
        tests.append(lambda log: log.severity >= least)
    if text := query.get("since"):
        since = moment(text)
        tests.append(lambda log: log.time >= since)
    if text := query.get("until"):
        until = moment(text)
        tests.append(lambda log: log.time <= until)
    parts = terms(query.get("q", ""))
    return [*tests, *map(_condition, parts)]


def _severity_of(level: str) -> int:
    if level not in LEVELS:
        raise ValueError(f"{level!r} is no level: {', '.join(LEVELS)}")
    return 1 + 4 * LEVELS.index(level)


def _condition(term: Term) -> LogTest:
    return as_asked(term, _keyed(term) if term.key else _word(term.value))


def _keyed(term: Term) -> LogTest:
    value = term.value.lower()
    if term.key == "service":
        return lambda log: log.origin.service.lower() == value
    if term.key in ("trace", "trace_id"):
        return lambda log: log.trace_id.hex() == value
    fits = attribute_test(term)
    return lambda log: fits(log.raw) or fits(log.origin.resource)


def _word(word: str) -> LogTest:
    lower, plain = word.lower(), word.lower().encode()
    return lambda log: (
        plain in log.raw.lower()
        or lower in log.origin.service.lower()
        or (len(lower) >= 4 and log.trace_id.hex().startswith(lower))
    )
