"""Instrumented once: the same options again are no news, others are an error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from obs_core.exceptions import AlreadyConfiguredError
from obs_core.integration import InstrumentationHandle, instrument_once, uninstrument


def instrument(**options: object) -> InstrumentationHandle:
    defaults = {"roots": "auto"}
    return instrument_once(
        "library",
        lambda: lambda: None,
        options={**defaults, **options},
        defaults=defaults,
    )


@pytest.fixture(autouse=True)
def _uninstrumented() -> Iterator[None]:
    yield
    uninstrument("library")


def test_a_second_call_with_other_options_says_so() -> None:
    """The message names them; ``instrument="auto"``, which has none, takes what is in place, as a default does."""
    handle = instrument(exclude=["a"], roots=True)
    assert instrument(exclude=["a"], roots=True) is handle
    assert instrument() is handle
    with pytest.raises(
        AlreadyConfiguredError, match=r"library is .*, with another exclude, hook:"
    ):
        instrument(exclude=["b"], roots=True, hook=print)
    handle.uninstrument()
    assert instrument(exclude=["b"]).is_active


@dataclass(frozen=True)
class Options:
    roots: str = "auto"
    exclude: tuple[str, ...] = ()
    former_names: bool = field(default=False, compare=False)


def test_options_may_be_a_dataclass() -> None:
    """Fields that are not compared, such as what the environment said, contradict nothing."""

    def instrument(options: Options) -> InstrumentationHandle:
        return instrument_once(
            "library", lambda: lambda: None, options=options, defaults=Options()
        )

    handle = instrument(Options(exclude=("a",)))
    assert instrument(Options(former_names=True)) is handle
    with pytest.raises(AlreadyConfiguredError, match=r"with another exclude:"):
        instrument(Options(exclude=("b",)))
    handle.uninstrument()
