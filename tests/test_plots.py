"""The plots of docs/benchmarks.md show what its tables say."""

from __future__ import annotations

from scripts.plots import read_table

PAGE = """
Some words.

| µs a call | contrib | ours | ddtrace | ours / contrib | spread |
|---|---:|---:|---:|---:|---:|
| sampled | 20 | 10 | 5 | 0.50 | 0.4 to 0.6 |
| unsampled | +8 | 2 | no | 0.25 | 0.2 to 0.3 |
"""


def test_a_table_is_read_as_multiples_of_the_reference() -> None:
    """Derived columns are no contestants; who could not take part has no bar."""
    table = read_table(PAGE)
    assert table is not None
    assert (table.title, table.contestants, list(table.rows)) == (
        "µs a call",
        ["contrib", "ours", "ddtrace"],
        ["sampled", "unsampled"],
    )
    assert table.relative("contrib") == [1, 1]
    assert table.relative("ours") == [0.5, 0.25]
    assert table.relative("ddtrace") == [0.25, None]
    assert table.behind() == ["sampled (ddtrace 0.50 of ours)"]


def test_what_is_no_contest_has_no_plot() -> None:
    """Without a reference, or without us, there is nothing to compare."""
    assert read_table("no table") is None
    assert read_table("| a | b |\n|---|---|\n| x | 1 |") is None
