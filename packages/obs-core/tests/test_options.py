"""Checks of an integration's options."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from obs_core.exceptions import ConfigurationError
from obs_core.integration import check_callable, check_choice, check_names, check_number

INFINITE = float("inf")


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            lambda: check_choice("relation", "child", ("parent", "link")),
            "relation='child' is not valid: use 'parent' or 'link'",
        ),
        (
            lambda: check_names("exclude", "reports.*", example="reports.*"),
            "exclude='reports.*' is not valid: give a list of names or globs, for instance ['reports.*']",
        ),
        (
            lambda: check_names("exclude", [7], example="x"),
            "exclude=[7] is not valid: give a list of names or globs, for instance ['x']",
        ),
        (
            lambda: check_names("exclude", iter("x"), example="x"),
            "is not valid: give a list of names or globs, for instance ['x']",
        ),
        (
            lambda: check_number("threshold", 1.5, at_least=1),
            "threshold=1.5 is not valid: give a whole number, 1 or more",
        ),
        (
            lambda: check_number("threshold", None, at_least=1),
            "threshold=None is not valid: give a whole number, 1 or more",
        ),
        (
            lambda: check_number("threshold", True, at_least=0, optional=True),
            "threshold=True is not valid: give a whole number, 0 or more, or None",
        ),
        (
            lambda: check_number("timeout_s", -0.5, at_least=0, unit="seconds"),
            "timeout_s=-0.5 is not valid: give a number of seconds, 0 or more",
        ),
        (
            lambda: check_number("timeout_s", INFINITE, at_least=0, unit="seconds"),
            "timeout_s=inf is not valid: give a number of seconds, 0 or more",
        ),
        (
            lambda: check_callable("on_start", "print"),
            "on_start='print' is not valid: give a function, or None",
        ),
    ],
)
def test_a_wrong_option_says_name_value_and_fix(
    check: Callable[[], object], message: str
) -> None:
    """As wrong settings of `TracingConfig` do."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        check()


def test_right_options_pass() -> None:
    """`check_names` returns a tuple, whatever collection was given."""
    check_choice("roots", "auto", ("auto", True, False))
    check_number("threshold", None, at_least=2, optional=True)
    check_number("threshold", 2, at_least=2)
    check_number("timeout_s", 0.5, at_least=0, unit="seconds")
    check_callable("on_start", None)
    check_callable("on_start", print)
    assert check_names("exclude", ["a", "b.*"], example="x") == ("a", "b.*")
    assert check_names("exclude", (), example="x") == ()
