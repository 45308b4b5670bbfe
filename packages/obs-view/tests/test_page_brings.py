"""The page's pages: operations, logs, flame, map, comparison; and what the details make of values."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from obs_view import Receiver

from .test_logs import record, send_logs
from .test_metrics import counter, point, send_metrics
from .test_page import Page, count, page, texts
from .test_web import MS, ONE, TWO, attribute, send, timed

#: No version of Python or of OpenTelemetry changes the page.
pytestmark = pytest.mark.soak

__all__ = ["page"]
EVERY_PAGE = pytest.mark.parametrize(
    "page", [(1440, "light"), (390, "dark")], indirect=True, ids=["1440", "390"]
)
STACK = """Traceback (most recent call last):
  File "/srv/.venv/lib/python3.12/site-packages/celery/app/trace.py", line 479, in trace_task
    R = retval = fun(*args, **kwargs)
  File "/srv/shop/tasks.py", line 41, in charge
    gateway.charge(card)
    ~~~~~~~~~~~~~~^^^^^^
ValueError: declined
"""


def copied(tab: Any) -> str:
    """What the page has put on the clipboard."""
    return str(tab.evaluate("window.copied"))


def catch_copies(opened: Page) -> None:
    """Let the test read what is copied."""
    opened.context.add_init_script(
        "navigator.clipboard.writeText = async (text) => { window.copied = text; };"
    )


@pytest.mark.parametrize("page", [(1440, "light")], indirect=True, ids=["1440"])
@pytest.mark.promise("VIEW-03")
def test_a_trace_that_was_kept_says_why(receiver: Receiver, page: Page) -> None:
    """It was not sampled."""
    kept = [attribute("obs.kept", stringValue="error")]
    send(receiver, timed(1, 0, 0, 10, attributes=kept), timed(2, 1, 0, 10))
    tab = page.open(f"trace/{ONE}")
    tab.wait_for_selector(".chip.kept")
    texts(tab, ".chip.kept", ["kept: error"])


@EVERY_PAGE
@pytest.mark.promise("VIEW-03")
def test_an_empty_page_has_the_lines_to_paste(receiver: Receiver, page: Page) -> None:
    """For an obs service, gRPC and HTTP, with this receiver's ports, each with a copy button."""
    catch_copies(page)
    tab = page.open()
    tab.wait_for_selector(f"text=127.0.0.1:{receiver.grpc_port}")
    lines = []
    for button in tab.locator(".way .copy").all():
        button.click()
        lines.append(copied(tab))
    assert f'collector_url="http://127.0.0.1:{receiver.grpc_port}"' in lines[0]
    compile(lines[0], "pasted", "exec")
    assert lines[1] == (
        f"export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{receiver.grpc_port}\n"
        "export OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
    )
    assert lines[2] == (
        f"export OTEL_EXPORTER_OTLP_ENDPOINT={receiver.http_url}\n"
        "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
    )
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.promise("VIEW-03")
@pytest.mark.parametrize(
    "page", [(900, "light"), (1440, "light")], indirect=True, ids=str
)
def test_the_header_leaves_room(receiver: Receiver, page: Page) -> None:
    """At most 110 px above the trace, however long its name."""
    error = {"code": 2}
    send(
        receiver,
        *(
            timed(n, n // 2, n, n + 1, name="x" * 200, status=error)
            for n in range(1, 9)
        ),
    )
    tab = page.open(f"trace/{ONE}")
    page.names()
    assert tab.locator(".split").bounding_box()["y"] <= 110


@pytest.mark.promise("VIEW-03")
def test_equal_siblings_are_one_row(receiver: Receiver, page: Page) -> None:
    """With their number and sum; a failed one stands alone; opening shows each; a hit of find opens them."""
    queries = [timed(n, 1, n, n + 0.5, name="SELECT config") for n in range(2, 8)]
    failed = timed(8, 1, 8, 9, name="SELECT config", status={"code": 2})
    others = [timed(n, 1, n, n + 1, name="SELECT config") for n in (9, 10)]
    send(receiver, timed(1, 0, 0, 100, name="root"), *queries, failed, *others)
    tab = page.open(f"trace/{ONE}")
    assert page.names() == ["root", *["SELECT config"] * 4]
    folded = tab.locator(".row.repeats")
    assert (
        folded.locator(".times").inner_text(),
        folded.locator(".took").inner_text(),
    ) == (
        "\u00d76",
        "3.00 ms",
    )
    folded.locator(".twist").click()
    count(tab, ".row", 11)
    tab.keyboard.press("r")
    count(tab, ".row", 10)
    tab.keyboard.press("r")
    count(tab, ".row", 11)
    folded.locator(".twist").click()
    count(tab, ".row", 5)
    tab.fill(".find input", f"{4:016x}")
    tab.wait_for_selector(".row.selected.hit:not(.repeats)")
    count(tab, ".row", 11)


@pytest.mark.promise("VIEW-03")
def test_details_lay_out_sql_and_json(receiver: Receiver, page: Page) -> None:
    """A clause a line, conditions below it; JSON indented; long text whole on request; all copied as it came."""
    catch_copies(page)
    sql = "SELECT a, count(*) FROM t LEFT JOIN u ON u.id = t.id WHERE b = 'FROM x' AND c IN (1, 2) ORDER BY a"
    values = {
        "db.query.text": sql,
        "payload": json.dumps({"n": [1, {"ok": True}]}),
        "text": "word " * 400,
    }
    held = [attribute(key, stringValue=value) for key, value in values.items()]
    send(receiver, timed(1, 0, 0, 100, attributes=held))
    tab = page.open(f"trace/{ONE}/{1:016x}")
    shown = tab.locator(".details dd")
    assert shown.nth(0).locator(".value").inner_text().split("\n") == [
        "SELECT a, count(*)",
        "FROM t",
        "LEFT JOIN u",
        "  ON u.id = t.id",
        "WHERE b = 'FROM x'",
        "  AND c IN (1, 2)",
        "ORDER BY a",
    ]
    assert json.loads(shown.nth(1).locator(".value").inner_text()) == {
        "n": [1, {"ok": True}]
    }
    assert shown.nth(1).locator(".value").inner_text().count("\n") > 4
    tab.click("text=all 2,000 characters")
    assert len(shown.nth(2).locator(".value").text_content()) == 2000
    shown.nth(0).hover()
    shown.nth(0).locator(".copy").click()
    assert copied(tab) == sql


@pytest.mark.promise("VIEW-03")
def test_an_http_span_is_copied_as_curl(receiver: Receiver, page: Page) -> None:
    """Method, headers and address, quoted for a shell."""
    catch_copies(page)
    fields = {
        "http.request.method": "POST",
        "url.full": "http://orders.internal/orders?name=it's",
        "http.request.header.x-user": "dana",
    }
    held = [attribute(key, stringValue=value) for key, value in fields.items()]
    send(receiver, timed(1, 0, 0, 100, kind=3, attributes=held))
    tab = page.open(f"trace/{ONE}/{1:016x}")
    tab.click("text=Copy as curl")
    assert copied(tab) == (
        "curl -X POST -H 'x-user: dana' 'http://orders.internal/orders?name=it'\\''s'"
    )


@pytest.mark.promise("VIEW-03")
def test_a_stack_shows_the_applications_frames(receiver: Receiver, page: Page) -> None:
    """Its frames open, with their line of code; the libraries' in the whole stack, which is folded."""
    fields = {
        "exception.type": "ValueError",
        "exception.message": "declined",
        "exception.stacktrace": STACK,
    }
    event = {
        "name": "exception",
        "timeUnixNano": str(10**18),
        "attributes": [attribute(k, stringValue=v) for k, v in fields.items()],
    }
    send(receiver, timed(1, 0, 0, 10, events=[event], status={"code": 2}))
    tab = page.open(f"trace/{ONE}/{1:016x}")
    texts(tab, ".frames li", ["srv/shop/tasks.py:41 in charge gateway.charge(card)"])
    whole = tab.locator(".exception details pre")
    assert not whole.is_visible()
    tab.click("text=Whole stack, 2 frames")
    assert whole.inner_text().strip() == STACK.strip()


@EVERY_PAGE
@pytest.mark.promise("VIEW-10")
def test_the_operations_page(receiver: Receiver, page: Page) -> None:
    """Count, errors and percentiles of the entry points, the map; one leads to its traces."""
    sql = [attribute("db.system.name", stringValue="postgresql")]
    for number in range(1, 21):
        status = {"code": 2} if number == 20 else {}
        ids = {"traceId": f"{number:032x}"}
        send(
            receiver,
            timed(
                1,
                0,
                1000 * number,
                1000 * number + number,
                name="GET /",
                status=status,
                **ids,
            ),
            timed(
                2,
                1,
                1000 * number,
                1000 * number + 1,
                name="SELECT",
                kind=3,
                attributes=sql,
                **ids,
            ),
        )
    tab = page.open("operations")
    tab.wait_for_selector("a.operation")
    texts(tab, "a.operation .what b", ["GET /"])
    facts = tab.locator("a.operation").inner_text()
    assert re.search(r"5\.0 % \(1\)\s+10\.0 ms\s+19\.0 ms", facts)
    count(tab, ".map .title", 2)
    assert tab.locator(".map .title").all_text_contents() == ["shop", "postgresql"]
    tab.select_option("select[aria-label=Kind]", "all")
    count(tab, "a.operation", 2)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.click("a.operation >> text=SELECT")
    count(tab, ".trace", 20)


@EVERY_PAGE
@pytest.mark.promise("VIEW-09")
def test_logs_and_spans_lead_to_each_other(receiver: Receiver, page: Page) -> None:
    """From a record to its span, which shows it; along the trace, and from there to the span again."""
    send(receiver, timed(1, 0, 0, 100, name="root"), timed(2, 1, 10, 90, name="work"))
    send_logs(
        receiver,
        record("slow bank", 2, severityNumber=13, severityText="WARN"),
        record("elsewhere", severityNumber=9),
    )
    tab = page.open("logs")
    count(tab, ".log", 2)
    tab.fill("#search", "bank")
    count(tab, ".log", 1)
    tab.click(f".log .jump >> text={ONE[:8]}")
    tab.wait_for_selector(".row.selected >> text=work")
    tab.wait_for_selector(".details .log.warn >> text=slow bank")
    count(tab, ".logged.warn", 1)
    tab.keyboard.press("Escape")
    tab.keyboard.press("3")
    tab.click(".view .log .jump >> text=work")
    tab.wait_for_selector(".details h2 >> text=work")
    tab.keyboard.press("Escape")
    tab.keyboard.press("Escape")
    count(tab, ".log", 1)
    assert tab.input_value("#search") == "bank"


MEAN = "4 \N{MULTIPLICATION SIGN} 12.5 ms"


@EVERY_PAGE
@pytest.mark.promise("VIEW-13")
def test_metrics_lead_to_their_traces(receiver: Receiver, page: Page) -> None:
    """The last value, live, in a row that stays where it is; an exemplar's id leads to its span."""
    send(receiver, timed(1, 0, 0, 100, name="root"), timed(2, 1, 10, 90, name="work"))
    place = {"traceId": ONE, "spanId": f"{2:016x}", "asInt": "1"}
    web = [attribute("channel", stringValue="web")]
    orders = point("12", attributes=web, exemplars=[place])
    wait = {"count": "4", "sum": 0.05, "explicitBounds": [0.01], "bucketCounts": [3, 1]}
    tab = page.open("metrics")
    tab.wait_for_selector("text=No metrics have come")
    waits = {"name": "wait", "unit": "s", "histogram": {"dataPoints": [wait]}}
    send_metrics(receiver, counter("orders", orders), waits)
    texts(tab, ".metric .what b", ["orders", "wait"])
    texts(tab, ".metric .number", ["12", MEAN])
    texts(tab, ".metric .labels span", ["channel=web"])
    count(tab, ".metric .histogram rect", 2)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    send_metrics(receiver, counter("orders", {**orders, "asInt": "13"}))
    texts(tab, ".metric .number", ["13", MEAN])
    tab.fill("#search", "channel=web")
    count(tab, ".metric .what", 1)
    tab.click(f".exemplars >> text={ONE[:8]}")
    tab.wait_for_selector(".row.selected >> text=work")


@EVERY_PAGE
@pytest.mark.promise("VIEW-03")
def test_flame_zoom_and_minimap(receiver: Receiver, page: Page) -> None:
    """Callees below callers; dragging over the minimap zooms both charts, 0 shows all again."""
    send(
        receiver,
        timed(1, 0, 0, 100, name="root"),
        timed(2, 1, 0, 50, name="first"),
        timed(3, 1, 50, 100, name="second"),
        timed(4, 3, 60, 100, name="below"),
    )
    tab = page.open(f"trace/{ONE}")
    page.names()
    tab.keyboard.press("2")
    boxes = {
        box.inner_text().split(" ")[0]: box.bounding_box()
        for box in tab.locator(".box").all()
    }
    assert (
        boxes["root"]["y"]
        < boxes["first"]["y"]
        == boxes["second"]["y"]
        < boxes["below"]["y"]
    )
    assert boxes["first"]["width"] == pytest.approx(
        boxes["root"]["width"] / 2, rel=0.02
    )
    little = tab.locator(".minimap").bounding_box()
    tab.mouse.move(little["x"] + little["width"] * 0.5, little["y"] + 8)
    tab.mouse.down()
    tab.mouse.move(little["x"] + little["width"] * 0.999, little["y"] + 8, steps=4)
    tab.mouse.up()
    tab.wait_for_selector(".window", state="visible")
    assert tab.locator(".box >> text=first").count() == 0
    tab.keyboard.press("1")
    assert tab.locator(".scale div span").first.inner_text() in (
        "50.0 ms",
        "49.9 ms",
        "50.1 ms",
    )
    tab.keyboard.press("0")
    assert tab.locator(".scale div span").first.inner_text() == "0"
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


@EVERY_PAGE
@pytest.mark.promise("VIEW-03")
def test_two_traces_are_compared(receiver: Receiver, page: Page) -> None:
    """From one trace over the list to the other: equal steps in one row, with what differs."""
    send(receiver, timed(1, 0, 0, 100, name="root"), timed(2, 1, 1, 20, name="same"))
    send(receiver, timed(3, 1, 30, 35, name="query"), timed(4, 1, 40, 45, name="gone"))
    other = {"traceId": TWO}
    send(receiver, timed(11, 0, 5000, 5190, name="root", **other))
    send(receiver, timed(12, 11, 5001, 5020, name="same", **other))
    for number in range(3):
        start = 5030 + 10 * number
        send(receiver, timed(13 + number, 11, start, start + 5, name="query", **other))
    send(receiver, timed(20, 11, 5100, 5110, name="new", **other))
    tab = page.open(f"trace/{ONE}")
    page.names()
    tab.keyboard.press("c")
    tab.wait_for_selector("text=Choose the trace to compare with")
    tab.click(f"a[href='#/trace/{TWO}']")
    tab.wait_for_selector(".step.changed")
    steps = {
        step.locator(".name").inner_text().split("\n")[0]: step.locator(
            ".change"
        ).inner_text()
        for step in tab.locator(".step:not(.head)").all()
    }
    assert {re.sub("shop$", "", name): change for name, change in steps.items()} == {
        "root": "+90.0 ms",
        "same": "=",
        "query": "+10.0 ms",
        "gone": "only in A",
        "new": "only in B",
    }
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.click("text=only what differs")
    count(tab, ".step:not(.head)", 4)
    tab.keyboard.press("Escape")
    count(tab, ".trace", 2)


@pytest.mark.promise("VIEW-03")
def test_the_list_is_sorted_paged_and_says_what_it_does_not_understand(
    receiver: Receiver, page: Page
) -> None:
    """Headings sort, beyond 200 there is a next page, the address keeps both; a bad search is explained."""
    for first in range(1, 301, 100):
        numbers = range(first, first + 100)
        send(
            receiver,
            *(
                timed(1, 0, 0, 1000 - n, traceId=f"{n:032x}", name=f"t{n}")
                for n in numbers
            ),
        )
    tab = page.open()
    count(tab, ".trace", 200)
    tab.click(".sort.duration")
    tab.wait_for_selector(".trace:first-child >> text=t1")
    tab.click("text=Next")
    count(tab, ".trace", 100)
    assert tab.locator(".trace .name").first.inner_text() == "t201"
    tab.reload()
    count(tab, ".trace", 100)
    assert tab.locator(".trace .name").first.inner_text() == "t201"
    tab.fill("#search", "duration>soon")
    tab.wait_for_selector("text='soon' is no duration: write 250ms, 1.5s or 2min")
    page.errors = [error for error in page.errors if "400 (Bad Request)" not in error]


@pytest.mark.promise("VIEW-03")
def test_an_absolute_time_range(receiver: Receiver, page: Page) -> None:
    """Chosen in the list, kept in the address."""
    for number in range(1, 5):
        start = 60_000 * number
        send(
            receiver,
            timed(1, 0, start, start + 1, traceId=f"{number:032x}", name=f"t{number}"),
        )
    zero = 10**18 / MS
    tab = page.open(f"?since={zero + 90_000:.0f}&until={zero + 200_000:.0f}")
    count(tab, ".trace", 2)
    texts(tab, ".trace .name", ["t3", "t2"])
    assert tab.input_value("select[aria-label=Time]") == "custom"
    tab.fill("input[aria-label=To]", "2001-09-09T01:48:45")
    tab.wait_for_selector(".trace >> text=t2")
    assert "until=" in tab.url
