"""Which tracer a decorated call takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from obs_core import trace_function
from obs_core.testing._spans import _done, _set_global
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler


@contextmanager
def provider(sampler: Sampler) -> Iterator[trace.Tracer]:
    """An SDK provider without processors, for the block."""
    before, once = trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE
    inside = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    _set_global(inside, _done())
    try:
        yield inside.get_tracer("floor")
    finally:
        _set_global(before, once)


@trace_function
def traced(x: int) -> int:
    return x


@pytest.mark.promise("CORE-45")
def test_a_provider_may_be_replaced() -> None:
    """Each call takes the provider in force at that moment."""
    seen = trace_function(
        lambda: trace.get_current_span().get_span_context().trace_flags
    )
    with provider(ALWAYS_ON):
        assert seen() & 1
    with provider(ALWAYS_OFF):
        assert not seen() & 1
    with provider(ParentBased(ALWAYS_ON)):
        assert seen() & 1


@pytest.mark.promise("CORE-45")
def test_the_provider_that_the_environment_names_is_loaded() -> None:
    """`OTEL_PYTHON_TRACER_PROVIDER` works where decorated calls are all the tracing there is."""
    program = """
import os
os.environ["OTEL_PYTHON_TRACER_PROVIDER"] = "sdk_tracer_provider"
from obs_core import trace_function
from opentelemetry import trace
assert trace_function(lambda: trace.get_current_span().is_recording())()
"""
    assert (
        subprocess.run(
            [sys.executable, "-c", program], timeout=60, check=False
        ).returncode
        == 0
    )


class Broken(Sampler):
    """Raises whatever it is asked."""

    def should_sample(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no decision")

    def get_description(self) -> str:
        return "Broken"


class Bad(SpanProcessor):
    """Raises at both ends of a span."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError("no start")

    def on_end(self, span: Any) -> None:
        raise RuntimeError("no end")


@pytest.mark.promise("CORE-42")
@pytest.mark.parametrize("when", ["sampler", "on_start", "on_end"])
def test_a_foreign_sampler_or_processor_that_raises_is_contained(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call runs and answers, and the failure is logged."""
    logged: list[str] = []
    for module in ("calls", "spec"):
        monkeypatch.setattr(f"obs_core._decorators.{module}.log_failure", logged.append)
    with provider(Broken() if when == "sampler" else ALWAYS_ON):
        if when != "sampler":
            processor = Bad()
            setattr(
                processor,
                "on_end" if when == "on_start" else "on_start",
                lambda *_, **__: None,
            )
            trace.get_tracer_provider().add_span_processor(processor)  # type: ignore[attr-defined]
        assert traced(1) == 1
        assert trace.get_current_span() is trace.INVALID_SPAN
    assert logged == ["ending a span" if when == "on_end" else "starting a span"]
