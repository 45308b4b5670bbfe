"""A flush before a process ends, within a bound."""

from __future__ import annotations

import threading
import time

import pytest
from obs_core.integration import flush_within
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def test_a_provider_of_the_sdk_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a set-up of ours, too."""
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(
        BatchSpanProcessor(exporter, schedule_delay_millis=60_000)
    )
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    provider.get_tracer("test").start_span("span").end()
    flush_within(20)
    assert [span.name for span in exporter.get_finished_spans()] == ["span"]
    provider.shutdown()


def test_a_provider_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may keep no deadline."""
    gate = threading.Event()

    class Hanging(TracerProvider):
        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return gate.wait(30)

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", Hanging(shutdown_on_exit=False))
    before = time.monotonic()
    flush_within(0.2)
    assert 0.2 <= time.monotonic() - before < 10
    gate.set()
