"""Whether contrib's instrumentation of the same library is switched on."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from obs_core.integration import Contrib


class Instrumentor:
    """As contrib's: one object, however often it is made."""

    is_instrumented_by_opentelemetry = False
    _instance: Instrumentor | None = None

    def __new__(cls) -> Instrumentor:
        cls._instance = cls._instance or super().__new__(cls)
        return cls._instance


def test_contrib_takes_over_as_long_as_it_is_switched_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Imported, switched on and off again after the first question; a warning the first time."""
    contrib = Contrib("their_instrumentation:Instrumentor", package="obs-theirs")
    assert not contrib.takes_over()
    module = ModuleType("their_instrumentation")
    monkeypatch.setitem(sys.modules, "their_instrumentation", module)
    assert not contrib.takes_over()
    module.Instrumentor = Instrumentor  # type: ignore[attr-defined]
    assert not contrib.takes_over()
    assert caplog.records == []
    Instrumentor().is_instrumented_by_opentelemetry = True
    assert [contrib.takes_over() for _ in range(2)] == [True, True]
    assert [
        "Instrumentor is active as well as obs-theirs" in line
        for line in caplog.messages
    ] == [True]
    Instrumentor().is_instrumented_by_opentelemetry = False
    assert not contrib.takes_over()
