"""The page in a real browser: what a person does with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from obs_view import Receiver

from .test_web import ONE, TWO, attribute, link_mode, send, timed

#: No version of Python or of OpenTelemetry changes the page.
pytestmark = pytest.mark.soak


class Page:
    """A page of the receiver, which must load nothing from elsewhere and log no error."""

    def __init__(
        self, browser: Any, receiver: Receiver, width: int, scheme: str
    ) -> None:
        self.url = receiver.http_url
        self.context = browser.new_context(
            viewport={"width": width, "height": 740}, color_scheme=scheme
        )
        self.context.set_default_timeout(15_000)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "dialog", lambda dialog: self.errors.append(f"dialog {dialog.message}")
        )
        self.page.on(
            "console",
            lambda message: (
                message.type == "error" and self.errors.append(message.text)
            ),
        )

    def open(self, place: str = "") -> Any:
        """Go to a place of the page."""
        self.page.goto(f"{self.url}/#/{place}")
        return self.page

    def names(self) -> list[str]:
        """The spans' names in the waterfall, in order."""
        self.page.wait_for_selector(".row")
        found: list[str] = self.page.locator(".row .name").all_inner_texts()
        return found

    def close(self) -> None:
        """Close it and see that nothing went wrong."""
        self.context.close()
        assert self.errors == []
        assert [url for url in self.requests if not url.startswith(self.url)] == []


def count(tab: Any, selector: str, expected: int) -> None:
    """Wait until that many elements are there."""
    from playwright.sync_api import expect

    expect(tab.locator(selector)).to_have_count(expected, timeout=15_000)


def texts(tab: Any, selector: str, expected: list[str]) -> None:
    """Wait until the elements have these texts, with a space for a line break."""
    from playwright.sync_api import expect

    expect(tab.locator(selector)).to_have_text(
        expected, use_inner_text=True, timeout=15_000
    )


@pytest.fixture(params=[(1200, "light")], ids=str)
def page(
    browser: Any, receiver: Receiver, request: pytest.FixtureRequest
) -> Iterator[Page]:
    """A page of 1200 px in light colours, or what the test says."""
    width, scheme = request.param
    opened = Page(browser, receiver, width, scheme)
    yield opened
    opened.close()


EVERY_SIZE = pytest.mark.parametrize(
    "page",
    [(1200, "light"), (1200, "dark"), (360, "light"), (360, "dark")],
    indirect=True,
)


@pytest.mark.promise("VIEW-03")
def test_the_list_is_live_and_can_be_searched(receiver: Receiver, page: Page) -> None:
    """A trace that comes is shown without reloading; typing narrows the list; the address keeps the search."""
    tab = page.open()
    tab.wait_for_selector("text=Waiting for traces")
    send(receiver, timed(1, 0, 0, 100, name="GET /one"))
    tab.wait_for_selector(".trace >> text=GET /one")
    send(
        receiver,
        timed(9, 0, 0, 50, traceId=TWO, name="GET /two", status={"code": 2}),
        service="other",
    )
    tab.wait_for_selector(".trace >> text=GET /two")
    tab.fill("#search", "one")
    count(tab, ".trace", 1)
    assert "q=one" in tab.url
    tab.fill("#search", "")
    tab.select_option("select[aria-label=Service]", "other")
    count(tab, ".trace", 1)
    texts(tab, ".trace.failed .name", ["✗ GET /two"])
    tab.reload()
    count(tab, ".trace", 1)


@EVERY_SIZE
@pytest.mark.promise("VIEW-03")
def test_a_trace_fits_the_window(receiver: Receiver, page: Page) -> None:
    """At 1200 and 360 px, light and dark: every bar in its place and proportion, nothing is cut off at the side."""
    send(
        receiver,
        timed(1, 0, 0, 100, name="root"),
        timed(2, 1, 25, 75, name="x" * 300, status={"code": 2}),
    )
    tab = page.open(f"trace/{ONE}")
    assert page.names() == ["root", "x" * 300]
    root, child = (tab.locator(".bar").nth(number).bounding_box() for number in (0, 1))
    assert child["width"] == pytest.approx(root["width"] / 2, rel=0.02)
    assert child["x"] - root["x"] == pytest.approx(root["width"] / 4, rel=0.02)
    tab.locator(".row").nth(1).click()
    tab.wait_for_selector(".details >> text=critical path")
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    red, back = (
        tab.evaluate(f"getComputedStyle(document.querySelector('{part}')).{what}")
        for part, what in COLOURS
    )
    assert red != back


COLOURS = ((".row.failed .name", "color"), ("body", "backgroundColor"))


@pytest.mark.promise("VIEW-03")
def test_light_and_dark_follow_the_system(receiver: Receiver, browser: Any) -> None:
    """The background is light or dark as the system is."""
    backs = []
    for scheme in ("light", "dark"):
        opened = Page(browser, receiver, 800, scheme)
        backs.append(
            opened.open().evaluate("getComputedStyle(document.body).backgroundColor")
        )
        opened.close()
    assert backs == ["rgb(255, 255, 255)", "rgb(20, 23, 26)"]


@pytest.mark.promise("VIEW-03")
def test_keys_alone(receiver: Receiver, page: Page) -> None:
    """From the list into a trace, to its error, folding and unfolding, and back, with no mouse."""
    send(receiver, timed(1, 0, 0, 100, name="root"), timed(2, 1, 10, 90, name="middle"))
    send(
        receiver,
        timed(3, 2, 20, 30, name="leaf", status={"code": 2, "message": "no luck"}),
    )
    tab = page.open()
    tab.wait_for_selector(".trace")
    tab.keyboard.press("Enter")
    assert page.names() == ["root", "middle", "leaf"]
    tab.keyboard.press("e")
    tab.wait_for_selector(".details >> text=no luck")
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_selector(".row.selected >> text=middle")
    tab.keyboard.press("ArrowLeft")
    count(tab, ".row", 2)
    tab.keyboard.press("ArrowRight")
    count(tab, ".row", 3)
    tab.wait_for_selector(".on-path", state="attached")
    tab.keyboard.press("p")
    count(tab, ".on-path", 0)
    tab.keyboard.press("Escape")
    tab.wait_for_selector(".details", state="hidden")
    tab.keyboard.press("Escape")
    tab.wait_for_selector(".trace")
    tab.keyboard.press("?")
    tab.wait_for_selector("dialog[open]")
    tab.keyboard.press("Escape")
    tab.keyboard.press("/")
    assert tab.evaluate("document.activeElement.id") == "search"


@pytest.mark.promise("VIEW-03", "VIEW-04")
def test_links_jump_and_merge(receiver: Receiver, page: Page) -> None:
    """From the publisher to the task in another trace, and back; merged, all three traces are one tree with one map."""
    link_mode(receiver)
    tab = page.open(f"trace/{ONE}/{2:016x}")
    tab.click(".details >> text=↩ task")
    tab.wait_for_selector("h1:has-text('task')")
    assert page.names() == ["task"]
    tab.click(f".details >> text=↪ span {2:016x}")
    tab.wait_for_selector(".row.selected >> text=publish")
    tab.keyboard.press("l")
    count(tab, ".row", 4)
    assert page.names() == ["span-1", "publish", "task", "mail"]
    tab.keyboard.press("4")
    tab.wait_for_selector(".map svg")
    count(tab, ".map svg .title", 3)
    assert tab.locator(".map svg .title").all_text_contents() == [
        "shop",
        "worker",
        "mailer",
    ]


@pytest.mark.promise("VIEW-06")
def test_values_are_text_never_html(receiver: Receiver, page: Page) -> None:
    """Markup in every field is shown as it was written, and nothing of it runs."""
    nasty = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    fields = {
        "exception.type": nasty,
        "exception.message": nasty,
        "exception.stacktrace": nasty,
    }
    event = {
        "name": "exception",
        "timeUnixNano": str(10**18),
        "attributes": [attribute(k, stringValue=v) for k, v in fields.items()],
    }
    send(
        receiver,
        timed(
            1,
            0,
            0,
            10,
            name=nasty,
            attributes=[attribute(nasty, stringValue=nasty)],
            events=[event],
            status={"code": 2, "message": nasty},
        ),
        service=nasty,
    )
    tab = page.open()
    tab.wait_for_selector(".trace")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".row")
    tab.keyboard.press("e")
    tab.wait_for_selector(".details h2")
    assert tab.locator(".details h2").inner_text() == nasty
    assert tab.locator(".details dd .value").first.inner_text() == nasty
    assert tab.locator(".details img, .details script, main img").count() == 0


@pytest.mark.promise("VIEW-06")
def test_odd_traces_are_drawn(receiver: Receiver, page: Page) -> None:
    """Cycles, clock skew, no name, no times: every span has a row inside the window."""
    send(
        receiver,
        timed(1, 2, 5, 6, name="a"),
        timed(2, 1, 6, 7, name="b"),
        timed(3, 0, 3, 4, name="root"),
    )
    send(
        receiver,
        timed(4, 3, 1, 9, name="early"),
        timed(5, 3, 9, 1, name="turned"),
        timed(6, 3, 0, 0, name="", endTimeUnixNano="0"),
    )
    tab = page.open(f"trace/{ONE}")
    assert sorted(page.names()) == ["(no name)", "a", "b", "early", "root", "turned"]
    count(tab, ".row small:has-text('clock')", 3)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.promise("VIEW-07")
def test_export_and_import_with_the_page(
    receiver: Receiver, page: Page, tmp_path: Any
) -> None:
    """The button downloads the trace; after Clear, the same file brings it back."""
    send(receiver, timed(1, 0, 0, 10, name="kept"))
    tab = page.open(f"trace/{ONE}")
    with tab.expect_download() as download:
        tab.click("summary:has-text('More')")
        tab.click("text=Export")
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.name == f"trace-{ONE}.json"
    tab = page.open()
    tab.click("text=Clear")
    tab.wait_for_selector("text=Waiting for traces")
    tab.set_input_files("#import", file)
    tab.wait_for_selector(".trace >> text=kept")


@pytest.mark.promise("VIEW-05")
def test_a_trace_of_5000_spans_scrolls(receiver: Receiver, page: Page) -> None:
    """Only the rows in view are in the document, from first to last; a step of scrolling draws within two frames."""
    spans = [
        timed(number, number // 2, number, number + 5, name=f"step-{number}")
        for number in range(1, 5001)
    ]
    for start in range(0, 5000, 1000):
        send(receiver, *spans[start : start + 1000])
    tab = page.open(f"trace/{ONE}")
    page.names()
    drawn = tab.evaluate(
        """async () => {
            const rows = document.querySelector(".rows"), times = [];
            let most = 0;
            for (let step = 0; step < 60; step++) {
                const began = performance.now();
                rows.scrollTop += rows.scrollHeight / 60;
                rows.dispatchEvent(new Event("scroll"));
                rows.getBoundingClientRect();
                times.push(performance.now() - began);
                most = Math.max(most, document.querySelectorAll(".row").length);
                await new Promise(requestAnimationFrame);
            }
            return { median: times.sort((a, b) => a - b)[30], most, last: rows.scrollHeight };
        }"""
    )
    assert drawn["most"] < 120
    assert drawn["last"] >= 5000 * 26
    assert drawn["median"] < 33
