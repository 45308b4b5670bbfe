"""The page under the reader's hands: nothing moves, nothing is forgotten, nothing covers what he looks at."""

from __future__ import annotations

from typing import Any

import pytest
from obs_view import Receiver

from .test_logs import record, send_logs
from .test_page import Page, count, page
from .test_web import ONE, attribute, send, timed

#: No version of Python or of OpenTelemetry changes the page.
pytestmark = pytest.mark.soak

__all__ = ["page"]
NARROW = pytest.mark.parametrize("page", [(390, "light")], indirect=True)


def many(receiver: Receiver, first: int, last: int) -> None:
    """A trace for each number, a second apart; every second one fails."""
    send(
        receiver,
        *(
            timed(
                *(1, 0, 1000 * number, 1000 * number + 10),
                traceId=f"{number:032x}",
                name=f"t{number}",
                status={"code": 2} if number % 2 else {},
            )
            for number in range(first, last)
        ),
    )


def top(tab: Any, selector: str) -> float:
    """The distance of an element from the window's top."""
    return float(tab.locator(selector).first.bounding_box()["y"])


@pytest.mark.promise("VIEW-12")
@pytest.mark.parametrize("way", ["Escape", "button"])
def test_back_from_a_trace_the_list_is_as_it_was(
    receiver: Receiver, page: Page, way: str
) -> None:
    """Filters and scroll, by Esc and by the button; also when traces have come meanwhile."""
    many(receiver, 1, 121)
    tab = page.open("?status=error")
    count(tab, ".trace", 60)
    tab.locator(".trace >> text=t31").scroll_into_view_if_needed()
    before = tab.evaluate("document.querySelector('.traces').scrollTop")
    assert before > 100
    tab.click(".trace >> text=t31")
    tab.wait_for_selector(".row")
    many(receiver, 121, 131)
    if way == "Escape":
        tab.keyboard.press("Escape")
    else:
        tab.click(".back")
    tab.wait_for_selector(".trace")
    assert "status=error" in tab.url
    assert tab.evaluate("document.querySelector('.traces').scrollTop") == before
    tab.wait_for_selector(".news >> text=5 new traces")
    assert tab.evaluate("document.querySelector('.traces').scrollTop") == before


@pytest.mark.promise("VIEW-12")
def test_the_list_does_not_move_under_the_pointer(
    receiver: Receiver, page: Page
) -> None:
    """What has come is announced; it is shown when the pointer leaves, or on request."""
    many(receiver, 1, 11)
    tab = page.open()
    tab.hover(".trace >> text=t7")
    place = top(tab, ".trace >> text=t7")
    many(receiver, 11, 21)
    tab.wait_for_selector(".news >> text=10 new traces")
    assert top(tab, ".trace >> text=t7") == place
    tab.mouse.move(5, 5)
    count(tab, ".trace", 20)
    assert tab.locator(".trace .name").first.inner_text() == "t20"


@pytest.mark.promise("VIEW-12")
def test_a_late_span_moves_neither_focus_nor_scroll(
    receiver: Receiver, page: Page
) -> None:
    """Spans that come into an open trace, above and below: the row at the top stays, as do focus, search and details."""
    root = timed(1, 0, 0, 100_000, name="root")
    send(
        receiver,
        root,
        *(timed(n, 1, 10 * n, 10 * n + 5, name=f"s{n}") for n in range(2, 400)),
    )
    tab = page.open(f"trace/{ONE}")
    page.names()
    tab.fill(".find input", "s200")
    tab.wait_for_selector(".row.selected >> text=s200")
    tab.evaluate("document.querySelector('.details .content').scrollTop = 40")
    inner = tab.evaluate("document.querySelector('.details .content').scrollTop")
    place = top(tab, ".row.selected")
    send(
        receiver, *(timed(n, 1, 1 + n / 1e4, 6, name="late") for n in range(1000, 1030))
    )
    tab.wait_for_selector(".heading >> text=429 spans")
    assert top(tab, ".row.selected") == place
    assert tab.locator(".row.selected .name").inner_text() == "s200"
    assert tab.evaluate("document.activeElement.ariaLabel") == "Find in trace"
    assert tab.input_value(".find input") == "s200"
    assert (
        tab.evaluate("document.querySelector('.details .content').scrollTop") == inner
    )


@pytest.mark.promise("VIEW-12")
def test_choices_are_remembered(receiver: Receiver, page: Page) -> None:
    """The critical path's switch and the panel's width, for the next trace and after a reload."""
    send(receiver, timed(1, 0, 0, 100), timed(2, 1, 10, 90))
    tab = page.open(f"trace/{ONE}/{2:016x}")
    tab.wait_for_selector(".on-path")
    tab.keyboard.press("p")
    grip = tab.locator(".grip").bounding_box()
    tab.mouse.move(grip["x"] + 4, 400)
    tab.mouse.down()
    tab.mouse.move(grip["x"] - 96, 400, steps=3)
    tab.mouse.up()
    wide = tab.locator(".details").bounding_box()["width"]
    assert wide == pytest.approx(540, abs=2)
    tab.locator(".grip").focus()
    tab.keyboard.press("ArrowLeft")
    tab.reload()
    tab.wait_for_selector(".details h2")
    assert tab.locator(".details").bounding_box()["width"] == pytest.approx(
        wide + 24, abs=2
    )
    count(tab, ".on-path", 0)


@NARROW
@pytest.mark.promise("VIEW-12")
def test_details_never_cover_the_selected_row(receiver: Receiver, page: Page) -> None:
    """At 390 px, whichever of many rows is selected, also by key."""
    send(receiver, *(timed(n, n // 2, n, n + 5, name=f"s{n}") for n in range(1, 80)))
    tab = page.open(f"trace/{ONE}")
    page.names()
    for step in (1, 5, 30, 40):
        for _ in range(step):
            tab.keyboard.press("ArrowDown")
        tab.wait_for_selector(".details h2")
        tab.wait_for_function(
            """() => {
                const row = document.querySelector(".row.selected")?.getBoundingClientRect();
                const panel = document.querySelector(".details").getBoundingClientRect();
                const rows = document.querySelector(".rows").getBoundingClientRect();
                return row && row.top >= rows.top && row.bottom <= Math.min(rows.bottom, panel.top) + 1;
            }"""
        )
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.promise("VIEW-12")
def test_find_counts_steps_and_looks_everywhere(receiver: Receiver, page: Page) -> None:
    """While one types the first hit is selected; Enter and Shift+Enter go on; events and logs count; none is said."""
    event = {
        "name": "cache miss",
        "timeUnixNano": str(10**18),
        "attributes": [attribute("key", stringValue="needle-event")],
    }
    send(
        receiver,
        timed(1, 0, 0, 100, name="root"),
        timed(2, 1, 1, 2, name="needle one"),
        timed(
            3, 1, 3, 4, name="two", attributes=[attribute("a", stringValue="Needle")]
        ),
        timed(4, 1, 5, 6, name="three", events=[event]),
        timed(5, 1, 7, 8, name="four"),
    )
    send_logs(receiver, record("a needle in a log", 5))
    tab = page.open(f"trace/{ONE}")
    page.names()
    tab.keyboard.press("/")
    tab.keyboard.type("needle")
    selected = []
    for key in ("", "Enter", "Enter", "Enter", "Enter", "Shift+Enter"):
        if key:
            tab.keyboard.press(key)
        selected.append(
            (
                tab.locator(".steps .count").inner_text(),
                tab.locator(".row.selected .name").inner_text(),
            )
        )
    assert selected == [
        ("1 of 4", "needle one"),
        ("2 of 4", "two"),
        ("3 of 4", "three"),
        ("4 of 4", "four"),
        ("1 of 4", "needle one"),
        ("4 of 4", "four"),
    ]
    tab.keyboard.type("-not-there")
    tab.wait_for_selector(".steps .count >> text=none")


@pytest.mark.promise("VIEW-05")
def test_arrow_keys_draw_only_what_changes(receiver: Receiver, page: Page) -> None:
    """A step of the selection makes two rows anew, not the window's thirty."""
    send(receiver, *(timed(n, n // 2, n, n + 5, name=f"s{n}") for n in range(1, 400)))
    tab = page.open(f"trace/{ONE}")
    page.names()
    tab.keyboard.press("ArrowDown")
    tab.wait_for_selector(".details h2")
    made = tab.evaluate(
        """async () => {
            const rows = document.querySelector(".rows"), counts = [];
            for (let step = 0; step < 5; step++) {
                let made = 0;
                const count = (records) => { for (const { addedNodes } of records) made += addedNodes.length; };
                const watch = new MutationObserver(count);
                watch.observe(document.querySelector(".canvas"), { childList: true });
                rows.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
                await new Promise(requestAnimationFrame);
                await new Promise(requestAnimationFrame);
                watch.disconnect();
                counts.push(made);
            }
            return counts;
        }"""
    )
    assert 1 <= max(made) <= 6
