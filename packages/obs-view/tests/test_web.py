"""The page's API: lists, one trace, export and import, linked traces as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from obs_view import Receiver

from .test_http import a_span, document

ONE, TWO, THREE = "1" * 32, "2" * 32, "3" * 32
MS = 1_000_000


def attribute(key: str, **value: object) -> dict[str, object]:
    """An attribute in OTLP-JSON."""
    return {"key": key, "value": value}


def timed(
    number: int, parent: int, start_ms: float, end_ms: float, **fields: object
) -> dict[str, object]:
    """A span of trace ONE by numbers, times in milliseconds after a fixed moment."""
    times = {
        "startTimeUnixNano": str(10**18 + int(start_ms * MS)),
        "endTimeUnixNano": str(10**18 + int(end_ms * MS)),
    }
    parental = {"parentSpanId": f"{parent:016x}"} if parent else {}
    return a_span(
        **{
            "traceId": ONE,
            "spanId": f"{number:016x}",
            "name": f"span-{number}",
            **parental,
            **times,
            **fields,
        }
    )


def send(receiver: Receiver, *spans: dict[str, object], service: str = "shop") -> None:
    """Post spans of `service`."""
    body: Any = document(*spans)
    body["resourceSpans"][0]["resource"]["attributes"][0]["value"]["stringValue"] = (
        service
    )
    answer = httpx.post(receiver.http_url + "/v1/traces", json=body, trust_env=False)
    assert (answer.status_code, answer.json()) == (200, {})


def get(receiver: Receiver, path: str, status: int = 200) -> Any:
    """GET JSON."""
    answer = httpx.get(receiver.http_url + path, trust_env=False)
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.promise("VIEW-03")
def test_the_list_has_the_latest_first(receiver: Receiver) -> None:
    """Each trace with its root, services, counts and times; the next request may ask only for news."""
    send(receiver, timed(1, 0, 0, 100), timed(2, 1, 10, 20, status={"code": 2}))
    send(receiver, timed(3, 1, 30, 150), service="worker")
    send(receiver, timed(1, 0, 500, 501, traceId=TWO, name="late"))
    found = get(receiver, "/api/traces")
    assert [trace["name"] for trace in found["traces"]] == ["late", "span-1"]
    assert found["traces"][1] == {
        "id": ONE,
        "name": "span-1",
        "service": "shop",
        "start": 10**12,
        "duration": 150 * MS,
        "spans": 3,
        "errors": 1,
        "complete": True,
        "services": {"shop": 2, "worker": 1},
    }
    assert (found["total"], found["count"], found["services"]) == (
        2,
        4,
        ["shop", "worker"],
    )
    after = f"/api/traces?after={found['sequence']}"
    assert httpx.get(receiver.http_url + after, trust_env=False).status_code == 204
    send(receiver, timed(4, 1, 40, 50))
    assert get(receiver, after)["count"] == 5


@pytest.mark.promise("VIEW-03")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=cart", ["one"]),
        ("q=CART", ["one"]),
        ("q=n%C3%BCrnberg", ["one"]),
        ("q=cart+missing", []),
        ("q=user.id=42", ["one"]),
        ("q=user.id=4", []),
        ("q=city=N%C3%BCrnberg", ["one"]),
        ("q=ratio=0.5", ["two"]),
        ("q=paid=true", ["two"]),
        ("q=service.name=worker", ["two"]),
        ("q=worker", ["two"]),
        (f"q={TWO[:8]}", ["two"]),
        ("service=shop", ["one"]),
        ("status=error", ["two"]),
        ("status=ok", ["one"]),
        ("min=100ms", ["two"]),
        ("max=99ms", ["one"]),
        ("min=1&max=5min", ["two", "one"]),
        ("since=1000000000500", ["two"]),
        ("until=1000000000500", ["one"]),
        ("q=one&status=error", []),
        ('q="add to cart"', ["one"]),
        ('q="to add"', []),
        ('q=city="Nürnberg"', ["one"]),
        ("q=-cart", ["two"]),
        ("q=!cart", ["two"]),
        ('q=-"add to cart"', ["two"]),
        ("q=city!=Nürnberg", ["two"]),
        ("q=-user.id=42", ["two"]),
        ("q=duration>100ms", ["two"]),
        ("q=duration<=50ms", ["one"]),
        ("q=spans>1", ["one"]),
        ("q=spans=1", ["two"]),
        ("q=errors>0", ["two"]),
        ("q=user.id>=42", ["one"]),
        ("q=user.id>42", []),
        ("q=ratio<1", ["two"]),
        ("q=city>5", []),
        ("q=service=shop", ["one"]),
        ("q=name=ONE", ["one"]),
        ("q=kind=server status=error", ["two"]),
        ("sort=duration", ["two", "one"]),
        ("sort=spans", ["one", "two"]),
        ("sort=errors", ["two", "one"]),
        ("offset=1", ["one"]),
        ("offset=2", []),
    ],
)
def test_search(receiver: Receiver, query: str, expected: list[str]) -> None:
    """By word anywhere in a span, by attribute of any type, service, status, duration, time; all must fit."""
    city, number = (
        attribute("city", stringValue="Nürnberg"),
        attribute("user.id", intValue="42"),
    )
    send(
        receiver,
        timed(1, 0, 0, 50, name="one"),
        timed(2, 1, 10, 20, name="add to cart", attributes=[city, number]),
    )
    ratio, paid = attribute("ratio", doubleValue=0.5), attribute("paid", boolValue=True)
    send(
        receiver,
        timed(
            1,
            0,
            1000,
            1200,
            traceId=TWO,
            name="two",
            attributes=[ratio, paid],
            status={"code": 2},
        ),
        service="worker",
    )
    assert [
        trace["name"] for trace in get(receiver, "/api/traces?" + query)["traces"]
    ] == expected


@pytest.mark.promise("VIEW-06")
@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("min=soon", "'soon' is no duration: write 250ms, 1.5s or 2min"),
        ("q=duration>soon", "'soon' is no duration: write 250ms, 1.5s or 2min"),
        (
            "q=status_code>=much",
            "'status_code>=much' compares with no number: write status_code>=500",
        ),
        ('q=good "open', "'\"open': the quote is not closed"),
        (
            "q=good a>",
            "'a>' is not understood: write words, \"a phrase\", key=value, key>=5, -word",
        ),
        ("since=inf", "'inf' is no time: write milliseconds since the epoch"),
        ("until=now", "'now' is no time: write milliseconds since the epoch"),
        ("sort=name", "cannot sort by 'name': start, duration, spans, errors"),
        ("offset=-1", "'-1' is no offset: write how many to leave out"),
    ],
)
def test_what_the_search_does_not_understand_is_said(
    receiver: Receiver, query: str, text: str
) -> None:
    """400, with the part and how to write it."""
    assert get(receiver, "/api/traces?" + query, 400) == {"error": text}


@pytest.mark.promise("VIEW-03")
def test_paging_reaches_every_trace(receiver: Receiver) -> None:
    """Beyond the latest 200, in order, each once."""
    for first in range(1, 451, 150):
        numbers = range(first, first + 150)
        send(
            receiver,
            *(
                timed(1, 0, n, n + 1, traceId=f"{n:032x}", name=f"t{n}")
                for n in numbers
            ),
        )
    names = []
    for offset in (0, 200, 400):
        names += [
            t["name"] for t in get(receiver, f"/api/traces?offset={offset}")["traces"]
        ]
    assert names == [f"t{number}" for number in range(450, 0, -1)]


@pytest.mark.promise("VIEW-06")
@pytest.mark.parametrize("server_first", [False, True])
def test_a_client_and_a_server_that_share_a_span_id_are_both_kept(
    receiver: Receiver, server_first: bool, tmp_path: Path
) -> None:
    """As Zipkin's do: the server's span hangs below the client's, with the children of its service."""
    file = str(tmp_path / "traces.db")
    client = (
        timed(1, 0, 0, 100, name="page"),
        timed(2, 1, 10, 90, name="call", kind=3),
    )
    server = (
        timed(2, 1, 20, 80, name="serve", kind=2),
        timed(3, 2, 30, 40, name="query"),
    )
    with Receiver(0, 0, db=file) as other:
        for number in (1, 0) if server_first else (0, 1):
            spans, service = ((client, "page"), (server, "api"))[number]
            send(other, *spans, service=service)
            send(other, *spans, service=service)
        assert other.store.count == 4
        before = get(other, f"/api/traces/{ONE}")
    assert [(row["depth"], row["name"], row["service"]) for row in before["rows"]] == [
        (0, "page", "page"),
        (1, "call", "page"),
        (2, "serve", "api"),
        (3, "query", "api"),
    ]
    assert len({row["id"] for row in before["rows"]}) == 4
    with Receiver(0, 0, db=file) as again:
        assert get(again, f"/api/traces/{ONE}")["rows"] == before["rows"]


@pytest.mark.promise("VIEW-07")
def test_one_trace(receiver: Receiver) -> None:
    """Rows in the order of the tree, times from the start of the trace, all that is known of each span."""
    event = {
        "name": "cache miss",
        "timeUnixNano": str(10**18 + 12 * MS),
        "attributes": [attribute("key", stringValue="k")],
    }
    big = attribute("big", intValue=str(2**60))
    send(
        receiver,
        timed(2, 1, 10, 20, events=[event], attributes=[big], kind=3),
        timed(1, 0, 0, 100),
    )
    trace = get(receiver, f"/api/traces/{ONE}")
    assert [
        (row["name"], row["depth"], row["parent"], row["start"], row["duration"])
        for row in trace["rows"]
    ] == [
        ("span-1", 0, "", 0, 100 * MS),
        ("span-2", 1, f"{1:016x}", 10 * MS, 10 * MS),
    ]
    child = trace["rows"][1]
    assert (child["kind"], child["attributes"]) == ("CLIENT", {"big": str(2**60)})
    assert child["events"] == [
        {"name": "cache miss", "time": 12 * MS, "attributes": {"key": "k"}}
    ]
    assert trace["resources"][child["resource"]] == {"service.name": "shop"}
    after = f"/api/traces/{ONE}?after={trace['sequence']}"
    assert httpx.get(receiver.http_url + after, trust_env=False).status_code == 204
    send(receiver, timed(3, 1, 30, 40))
    assert len(get(receiver, after)["rows"]) == 3


@pytest.mark.promise("VIEW-03")
def test_the_critical_path(receiver: Receiver) -> None:
    """Backwards from the end: the child that ended last, else the span itself; a task that outlives its publisher counts."""
    send(
        receiver,
        timed(1, 0, 0, 100),
        timed(2, 1, 10, 60),
        timed(3, 1, 20, 40),
        timed(4, 1, 65, 70),
        timed(5, 4, 80, 200),
    )
    rows = get(receiver, f"/api/traces/{ONE}")["rows"]
    path = {
        row["name"]: [[start / MS, end / MS] for start, end in row.get("path", [])]
        for row in rows
    }
    assert path == {
        "span-1": [[60, 65], [0, 10]],
        "span-2": [[10, 60]],
        "span-3": [],
        "span-4": [[65, 80]],
        "span-5": [[80, 200]],
    }


def link_mode(receiver: Receiver) -> None:
    """A request (ONE), a task in a trace of its own that links to it (TWO), and one more behind that (THREE)."""
    send(receiver, timed(1, 0, 0, 10), timed(2, 1, 5, 6, name="publish"))
    one = {"traceId": ONE, "spanId": f"{2:016x}"}
    two = {"traceId": TWO, "spanId": f"{11:016x}"}
    send(
        receiver,
        timed(11, 0, 20, 30, traceId=TWO, name="task", links=[one]),
        service="worker",
    )
    send(
        receiver,
        timed(21, 0, 40, 50, traceId=THREE, name="mail", links=[two]),
        service="mailer",
    )


@pytest.mark.promise("VIEW-04")
def test_links_lead_both_ways(receiver: Receiver) -> None:
    """From the task to the span that published it, and from there to the task."""
    link_mode(receiver)
    publish = get(receiver, f"/api/traces/{ONE}")
    source = {"trace": TWO, "span": f"{11:016x}", "name": "task", "service": "worker"}
    assert publish["rows"][1]["linked_from"] == [source]
    assert [other["id"] for other in publish["linked"]] == [TWO, THREE]
    task = get(receiver, f"/api/traces/{TWO}")
    assert task["rows"][0]["links"] == [
        {"trace": ONE, "span": f"{2:016x}", "name": "", "attributes": {}}
    ]
    assert sorted(other["id"] for other in task["linked"]) == [ONE, THREE]


@pytest.mark.promise("VIEW-04")
@pytest.mark.parametrize("entrance", [ONE, TWO, THREE])
def test_linked_traces_are_one_story(receiver: Receiver, entrance: str) -> None:
    """Merged, whichever of them is asked for: each root hangs below the span that it links to, on one scale of time."""
    link_mode(receiver)
    story = get(receiver, f"/api/traces/{entrance}?linked=true")
    assert [
        (row["depth"], row["name"], row["service"], row["start"] / MS)
        for row in story["rows"]
    ] == [
        (0, "span-1", "shop", 0),
        (1, "publish", "shop", 5),
        (2, "task", "worker", 20),
        (3, "mail", "mailer", 40),
    ]
    assert (story["duration"], story["spans"]) == (50 * MS, 4)


@pytest.mark.promise("VIEW-04", "VIEW-06")
def test_traces_that_link_to_each_other_end(receiver: Receiver) -> None:
    """A circle of links is followed once, and no span is lost."""
    send(receiver, timed(1, 0, 0, 10, links=[{"traceId": TWO, "spanId": f"{11:016x}"}]))
    send(
        receiver,
        timed(
            11, 0, 20, 30, traceId=TWO, links=[{"traceId": ONE, "spanId": f"{1:016x}"}]
        ),
    )
    assert len(get(receiver, f"/api/traces/{ONE}?linked=true")["rows"]) == 2


@pytest.mark.promise("VIEW-07")
def test_export_and_import(receiver: Receiver) -> None:
    """What is exported as OTLP-JSON brings the same trace to another receiver."""
    event = {
        "name": "e",
        "timeUnixNano": str(10**18),
        "attributes": [attribute("n", intValue="1")],
    }
    link = {
        "traceId": TWO,
        "spanId": f"{9:016x}",
        "attributes": [attribute("why", stringValue="retry")],
    }
    send(
        receiver,
        timed(1, 0, 0, 10, kind=2, status={"code": 2, "message": "no"}),
        timed(2, 1, 1, 2, events=[event], links=[link]),
    )
    send(receiver, timed(3, 2, 1, 2), service="worker")
    answer = httpx.get(f"{receiver.http_url}/api/traces/{ONE}/otlp", trust_env=False)
    assert (
        answer.headers["content-disposition"]
        == f'attachment; filename="trace-{ONE}.json"'
    )
    with Receiver(0, 0) as other:
        headers = {"Content-Type": "application/json"}
        assert (
            httpx.post(
                other.http_url + "/v1/traces",
                content=answer.content,
                headers=headers,
                trust_env=False,
            ).json()
            == {}
        )
        assert other.traces()[0].spans == receiver.traces()[0].spans


@pytest.mark.promise("VIEW-06")
@pytest.mark.parametrize("trace_id", ["x", "5" * 32, "5", "%00"])
@pytest.mark.parametrize("path", ["", "/otlp"])
def test_a_trace_that_is_not_here(receiver: Receiver, trace_id: str, path: str) -> None:
    """404 in JSON, whatever is asked for."""
    assert (
        "no such trace" in get(receiver, f"/api/traces/{trace_id}{path}", 404)["error"]
    )


@pytest.mark.promise("VIEW-06")
def test_odd_values_are_json(receiver: Receiver) -> None:
    """NaN, infinities, cycles, zero and turned times and unknown kinds are still JSON that a browser reads."""
    odd = [
        attribute("nan", doubleValue="NaN"),
        attribute("inf", doubleValue="-Infinity"),
        attribute("raw", bytesValue="AAE="),
    ]
    send(
        receiver,
        timed(1, 2, 5, 1, attributes=odd, kind=77),
        timed(2, 1, 0, 0, startTimeUnixNano="0", endTimeUnixNano="0"),
    )
    text = httpx.get(f"{receiver.http_url}/api/traces/{ONE}", trust_env=False).text

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    rows = json.loads(text, parse_constant=refuse)["rows"]
    assert len(rows) == 2
    assert {"nan": "nan", "inf": "-inf", "raw": "AAE="} in [
        row["attributes"] for row in rows
    ]


@pytest.mark.promise("VIEW-03", "VIEW-06")
def test_the_page_may_load_nothing_from_elsewhere(receiver: Receiver) -> None:
    """The policy forbids foreign and inline code; the host is checked for the page and the API too."""
    answer = httpx.get(receiver.http_url + "/", trust_env=False)
    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "text/html; charset=utf-8",
    )
    assert (
        "default-src 'none'; script-src 'self'; style-src 'self';"
        in answer.headers["content-security-policy"]
    )
    for path in ("/", "/static/main.js", "/api/traces"):
        refused = httpx.get(
            receiver.http_url + path, headers={"Host": "evil.example"}, trust_env=False
        )
        assert refused.status_code == 403
    assert "https://" not in answer.text
    assert (
        httpx.get(
            receiver.http_url + "/static/%2e%2e/_web.py", trust_env=False
        ).status_code
        == 404
    )


def test_clear_forgets_all(receiver: Receiver) -> None:
    """DELETE empties the store, and the page hears of it."""
    send(receiver, timed(1, 0, 0, 10))
    sequence = get(receiver, "/api/traces")["sequence"]
    assert (
        httpx.delete(receiver.http_url + "/api/traces", trust_env=False).status_code
        == 204
    )
    assert get(receiver, f"/api/traces?after={sequence}")["total"] == 0
