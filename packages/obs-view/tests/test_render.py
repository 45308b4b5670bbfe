"""The printed tree, compared as a whole."""

from __future__ import annotations

import io

import pytest
from obs_view import Event, Trace, render_trace, trace_text
from rich.console import Console

from .traces import T, orders, span


@pytest.mark.promise("VIEW-02")
def test_a_trace_as_plain_text() -> None:
    """Names, services, kinds, bars in place and proportion, durations, errors, links and attempts, at 100 columns."""
    assert trace_text(orders(), 100).splitlines() == [
        "POST /orders · 200 ms · 7 spans · 2 services · 2 errors",
        f"trace {T} · correlation c-1",
        "POST /orders 202        shop    SERVER    ━━━━━━━━━━━━━━━━━━━━━━━━                           100 ms",
        "├─ INSERT orders        shop    CLIENT      ━━━━━                                           20.0 ms",
        "└─ publish charge       shop    PRODUCER            ╸                                       1.00 ms",
        "   ├─ charge            worker  CONSUMER              ━━━━━━━━━━━━                          50.0 ms",
        "   │     CardError: declined",
        "   └─ charge attempt 2  worker  CONSUMER                                      ━━━━━━━━━━━━  50.0 ms",
        "      │  ↪ linked to charge, attempt 1",
        "      ├─ ✗ POST         worker  CLIENT                                          ━━━━━━━     30.0 ms",
        "      │     503",
        "      └─ ✗ body         worker                                                  ━━          10.0 ms",
        "            no luck",
        "            ↪ linked to span bbbbbbbbbbbbbbbb of trace aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ]


@pytest.mark.promise("VIEW-02")
def test_a_trace_that_was_kept_says_why() -> None:
    """It was not sampled; its services may have had different reasons."""
    spans = [
        span(1, 0, "GET /", 0, 10, attributes={"obs.kept": "error"}),
        span(2, 1, "part", 0, 10, attributes={"obs.kept": "error"}),
        span(3, 1, "task", 0, 10, attributes={"obs.kept": "asked"}),
    ]
    header = trace_text(Trace(spans), 100).splitlines()[0]
    assert header == "GET / · 10.0 ms · 3 spans · 1 service · kept: asked, error"


@pytest.mark.promise("VIEW-02")
@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_is_wider_than_asked(width: int) -> None:
    """Whatever the width, each span has its line, which ends in its duration."""
    lines = trace_text(orders(), width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.endswith("ms") for line in lines) == 7


@pytest.mark.promise("VIEW-02")
def test_a_log_gets_100_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where standard output is no terminal and COLUMNS says nothing, the tree is plain and 100 columns wide."""
    monkeypatch.delenv("COLUMNS", raising=False)
    render_trace(orders())
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert printed == trace_text(orders(), 100).splitlines()


@pytest.mark.promise("VIEW-02")
def test_colours_only_where_they_can_be_seen() -> None:
    """A terminal gets colours: red for what failed, one per service; a file gets none."""
    file = io.StringIO()
    render_trace(
        orders(),
        Console(file=file, width=100, force_terminal=True, color_system="standard"),
    )
    assert "\x1b[31mno luck" in file.getvalue()
    assert "\x1b[36mshop" in file.getvalue()
    assert "\x1b[35mworker" in file.getvalue()
    assert "\x1b" not in trace_text(orders())


@pytest.mark.promise("VIEW-02")
def test_a_console_without_unicode_gets_ascii() -> None:
    """A CI log in ASCII shows the same tree, and printing does not fail on a name it cannot show."""
    raw = io.BytesIO()
    console = Console(
        file=io.TextIOWrapper(raw, encoding="ascii", write_through=True), width=100
    )
    render_trace(
        Trace([span(1, 0, "zahlen für alle", 0, 0.5), span(2, 1, "child", 0, 0.1)]),
        console,
    )
    assert raw.getvalue().decode("ascii").splitlines()[2:] == [
        "zahlen f?r alle  shop            " + "=" * 57 + "   500 us",
        "`- child         shop            " + "=" * 11 + " " * 46 + "   100 us",
    ]


@pytest.mark.promise("VIEW-06")
def test_values_cannot_drive_the_terminal() -> None:
    """Escape sequences, control characters and line ends in names and messages are not printed."""
    nasty = "a\x1b[2J\x1b]0;title\x07b\r\nc\u202ed\x9b"
    shown = trace_text(
        Trace(
            [span(1, 0, nasty, 0, 1, service=nasty, status="ERROR", description=nasty)]
        )
    )
    assert not set(shown) & set("\x1b\x07\r\u202e\x9b")
    assert len(shown.splitlines()) == 4


@pytest.mark.promise("VIEW-06")
def test_clock_skew_is_named() -> None:
    """A child that starts before its parent is shown where the trace begins, with a note."""
    shown = trace_text(
        Trace(
            [span(1, 0, "parent", 0, 10), span(2, 1, "child", -3, 5, service="other")]
        )
    )
    assert "starts 3.00 ms before its parent: the clocks differ" in shown


@pytest.mark.promise("VIEW-06")
@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 0), (0, 2**63)])
def test_odd_times_are_drawn(start: int, end: int) -> None:
    """Times that are missing, turned round or far away neither fail nor hide a span."""
    shown = trace_text(
        Trace(
            [
                span(1, 0, "root", 0, 10),
                span(2, 1, "odd", 0, 0, start_time=start, end_time=end),
            ]
        )
    )
    assert "odd" in shown


@pytest.mark.promise("VIEW-06")
def test_a_deep_trace_is_drawn() -> None:
    """Five thousand levels: every span has its line and its name, the depth stands for the indentation."""
    lines = trace_text(
        Trace(span(n, n - 1, f"level-{n}", n, 6000) for n in range(1, 5001))
    ).splitlines()
    assert len(lines) == 5002
    assert "…4999…" in lines[-1]
    assert "level-5000" in lines[-1]


def test_what_is_not_here_is_named() -> None:
    """Spans whose parent has not come stand at the left, and the header counts them."""
    shown = trace_text(Trace([span(2, 1, "orphan", 0, 1), span(3, 1, "other", 1, 2)]))
    assert (
        shown.splitlines()[0]
        == "orphan · 2.00 ms · 2 spans · 1 service · 2 parents not here"
    )


def test_what_an_integration_remarks_is_shown_with_its_span() -> None:
    """The events of the obs packages say what to look at, as a slow statement and who sent it; other events do not."""
    told = {
        "obs.db.duration": 0.70666,
        "code.file.path": "/srv/shop/storage.py",
        "code.line.number": 32,
    }
    events = (Event("obs.db.slow_statement", 0, told), Event("message", 0, {"id": 1}))
    shown = trace_text(
        Trace([span(1, 0, "SELECT devices", 0, 707, kind="CLIENT", events=events)])
    )
    assert (
        "obs.db.slow_statement: db.duration=0.707, file.path=storage.py, line.number=32"
        in shown
    )
    assert "message" not in shown
