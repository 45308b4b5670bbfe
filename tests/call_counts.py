"""Costs as numbers of function calls, which no busy machine changes."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import version
from typing import Any

import pytest
from obs_core._correlation.processor import CorrelationSpanProcessor
from obs_core._provider.provider import SwitchableProvider
from obs_core._provider.resource import ProcessResource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from packaging.version import Version

WARM_UP = 3


def function_calls(
    run: Callable[[], Any],
    provider: TracerProvider,
    *,
    below: bool = True,
    runs: int = 1,
    listen: Callable[[Any], None] = sys.setprofile,
) -> int:
    """Count the calls that `run` makes, in Python and in C, when everything is warm.

    Args:
        run: The operation.
        provider: Makes the span above.
        below: Whether there is a span above.
        runs: The operations to count; the answer is the average.
        listen: Sets the profile function: of this thread, or of all.
    """
    seen = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal seen
        seen += event in ("call", "c_call")

    parent = provider.get_tracer("test").start_as_current_span("parent")
    with parent if below else nullcontext():
        for _ in range(WARM_UP):
            run()
        gc.disable()  # a collection that falls in here would count what it finalizes
        listen(count)
        try:
            for _ in range(runs):
                run()
        finally:
            listen(None)
            gc.enable()
    return seen // runs


def our_provider(rate: float) -> TracerProvider:
    """Return the provider of a set-up, without the export."""
    switchable = SwitchableProvider(ProcessResource({}))
    switchable.sample(rate)
    switchable.pipeline.processors = (CorrelationSpanProcessor(),)
    return switchable.provider


def sdk_provider(rate: float) -> TracerProvider:
    """Return the SDK's provider, for contrib."""
    sampler = ParentBased(TraceIdRatioBased(rate))
    return TracerProvider(sampler=sampler, shutdown_on_exit=False)


def need_newest_contrib() -> None:
    """Skip the test below contrib 0.66b0: bounds are about contrib as it is now, older ones record less."""
    installed = version("opentelemetry-instrumentation")
    if Version(installed) < Version("0.66b0"):
        pytest.skip(f"the bound is about contrib as it is now, not {installed}")
