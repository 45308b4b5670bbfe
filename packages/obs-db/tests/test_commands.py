"""What is told of a command: its name and the number of its arguments."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obs_db.redis._attributes import MAX_TEXT_BYTES, describe_command


@pytest.mark.promise("DB-21")
@pytest.mark.parametrize(
    ("args", "name", "text"),
    [
        (("GET", "a"), "GET", "GET ?"),
        ((b"get", b"a"), "GET", "GET ?"),
        (("CONFIG GET", "a"), "CONFIG GET", "CONFIG GET ?"),
        (("SET a sesame",), "SET", "SET ? ?"),
        (("CLIENT SETNAME sesame",), "CLIENT SETNAME", "CLIENT SETNAME ?"),
        (("FT.SEARCH", "idx", "@name:sesame"), "FT.SEARCH", "FT.SEARCH ? ?"),
        (("sésame:{x}", 1), "?", "? ?"),
        ((5, 6), "?", "? ?"),
        ((), "?", "?"),
    ],
)
def test_name_and_text(args: tuple[Any, ...], name: str, text: str) -> None:
    """The first word, of containers the second too, is the name; everything else is a ``?``."""
    command = describe_command(args)

    assert (command.name, command.text) == (name, text)


@pytest.mark.promise("DB-21")
@settings(max_examples=500, deadline=None, database=None)
@given(
    st.lists(
        st.one_of(
            st.text(), st.binary(), st.integers(), st.none(), st.just("x" * 100_000)
        ),
        max_size=5,
    ),
    st.integers(0, 10_000),
)
def test_any_arguments(args: list[Any], more: int) -> None:
    """Whatever the arguments, nothing raises and the text stays within 2 KiB."""
    command = describe_command((*args, *["sesame"] * more))

    assert len(command.text.encode()) <= MAX_TEXT_BYTES
    assert (
        "sesame" not in command.text.lower()
        or "sesame" in str(args[:1]).lower()
        or not args
    )
