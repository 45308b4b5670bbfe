"""Operations: rates, errors and percentiles; and the map of who calls whom."""

from __future__ import annotations

from typing import Any

import pytest
from obs_view import Receiver

from .test_web import MS, TWO, attribute, get, send, timed

CLIENT, PRODUCER, CONSUMER = 3, 4, 5


@pytest.mark.promise("VIEW-10")
def test_statistics_of_an_operation(receiver: Receiver) -> None:
    """Count, rate, errors, nearest-rank percentiles, and a histogram over the time in view."""
    for number in range(1, 101):
        status = {"code": 2} if number % 10 == 0 else {}
        start = 100 * number
        fields = {"traceId": f"{number:032x}", "name": "GET /", "status": status}
        send(receiver, timed(number, 0, start, start + number, **fields))
    found = get(receiver, "/api/operations")
    (row,) = found["operations"]
    facts = {key: row[key] for key in ("service", "name", "kind", "count", "errors")}
    assert facts == {
        "service": "shop",
        "name": "GET /",
        "kind": "SERVER",
        "count": 100,
        "errors": 10,
    }
    assert [row[key] / MS for key in ("p50", "p95", "p99", "total")] == [
        50,
        95,
        99,
        5050,
    ]
    assert row["rate"] == pytest.approx(100 / 9.9)
    assert (sum(row["counts"]), sum(row["failures"]), len(row["counts"])) == (
        100,
        10,
        48,
    )
    assert min(row["counts"]) >= 1


@pytest.mark.promise("VIEW-10")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["a", "b", "c"]),
        ("service=shop", ["a", "b"]),
        ("since=1000000000500", ["b", "c"]),
        ("until=1000000000500", ["a"]),
        ("service=none", []),
    ],
)
def test_operations_in_view(
    receiver: Receiver, query: str, expected: list[str]
) -> None:
    """Narrowed by service and by the spans' start."""
    send(receiver, timed(1, 0, 0, 10, name="a"))
    send(receiver, timed(2, 0, 1000, 1010, traceId=TWO, name="b"))
    send(receiver, timed(3, 2, 1001, 1002, traceId=TWO, name="c"), service="worker")
    found = get(receiver, "/api/operations?" + query)
    assert sorted(row["name"] for row in found["operations"]) == expected


def test_an_empty_store_has_no_operations(receiver: Receiver) -> None:
    """And a single moment has no rate."""
    assert get(receiver, "/api/operations")["operations"] == []
    send(receiver, timed(1, 0, 0, 10))
    assert get(receiver, "/api/operations")["operations"][0]["rate"] is None


def edges(found: dict[str, Any]) -> list[tuple[str, str, int, int]]:
    """From, to, calls and errors of each edge."""
    names = [node["name"] for node in found["map"]["nodes"]]
    return sorted(
        (names[edge["from"]], names[edge["to"]], edge["count"], edge["errors"])
        for edge in found["map"]["edges"]
    )


@pytest.mark.promise("VIEW-10")
def test_the_map_has_what_sends_no_spans(receiver: Receiver) -> None:
    """Databases, brokers and outside services; a call that reached a service leads to it, a message to its broker."""
    http = [attribute("server.address", stringValue="worker.local")]
    sql = [
        attribute("db.system.name", stringValue="postgresql"),
        attribute("db.namespace", stringValue="orders"),
        attribute("server.address", stringValue="10.0.0.1"),
    ]
    queue = [attribute("messaging.system", stringValue="rabbitmq")]
    bank = [attribute("url.full", stringValue="https://bank.example:8443/pay?x=1")]
    failed = {"code": 2}
    send(
        receiver,
        timed(1, 0, 0, 100),
        timed(2, 1, 1, 20, kind=CLIENT, attributes=http),
        timed(3, 1, 30, 40, kind=CLIENT, attributes=sql),
        timed(4, 1, 41, 42, kind=CLIENT, attributes=sql, status=failed),
        timed(5, 1, 50, 51, kind=PRODUCER, attributes=queue),
    )
    send(
        receiver,
        timed(6, 2, 2, 19),
        timed(7, 5, 60, 70, kind=CONSUMER, attributes=queue),
        timed(8, 7, 61, 69, kind=CLIENT, attributes=bank, status=failed),
        service="worker",
    )
    found = get(receiver, "/api/operations")
    assert edges(found) == [
        ("rabbitmq", "worker", 1, 0),
        ("shop", "postgresql orders", 2, 1),
        ("shop", "rabbitmq", 1, 0),
        ("shop", "worker", 1, 0),
        ("worker", "bank.example", 1, 1),
    ]
    kinds = {node["name"]: node["kind"] for node in found["map"]["nodes"]}
    assert kinds == {
        "shop": "service",
        "worker": "service",
        "postgresql orders": "database",
        "rabbitmq": "broker",
        "bank.example": "outside",
    }
    trace = get(receiver, f"/api/traces/{'1' * 32}")
    assert edges(trace) == edges(found)
