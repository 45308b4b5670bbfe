"""Instrumented once: the same options again are no news, others are an error."""

from __future__ import annotations

import pytest
from obs_core.exceptions import AlreadyConfiguredError
from obs_core.integration import InstrumentationHandle, instrument_once, uninstrument


def instrument(options: dict[str, object] | None = None) -> InstrumentationHandle:
    return instrument_once("library", lambda: lambda: None, options=options)


def test_a_second_call_with_other_options_says_so() -> None:
    """The message names them; ``instrument="auto"``, which has none, takes what is in place."""
    with pytest.raises(
        AlreadyConfiguredError, match="library .* another exclude, hook: .*uninstrument"
    ):
        try:
            handle = instrument({"exclude": ["a"], "roots": True})
            assert instrument({"exclude": ["a"], "roots": True}) is handle
            assert instrument() is handle
            instrument({"exclude": ["b"], "roots": True, "hook": print})
        finally:
            uninstrument("library")
    try:
        assert instrument({"exclude": ["b"]}).is_active
    finally:
        uninstrument("library")
