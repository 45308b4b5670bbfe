"""docs/guarantees.md lists every promise with its tests, and no test claims one that is not listed."""

from __future__ import annotations

from scripts.guarantees import PAGE, marked_tests, problems, render


def test_page_and_tests_are_equal() -> None:
    """Both lists hold the same promises and tests."""
    assert problems(PAGE.read_text(encoding="utf-8"), marked_tests()) == []


def test_check_sees_a_difference() -> None:
    """A promise without its test, and a test without its promise, are both found."""
    page = "| CORE-01 | One call. | `a::b` |\n"
    assert problems(page, {}) == [
        "the tests' column is out of date: python -m scripts.guarantees --write"
    ]
    assert problems(render(page, {}), {"CEL-99": ["x::y"]}) == [
        "CEL-99 is marked on x::y but not listed"
    ]
