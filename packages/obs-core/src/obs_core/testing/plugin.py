"""The pytest plugin: fixtures `spans` and `otlp_sink`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from obs_core.testing._sink import OtlpSink
from obs_core.testing._spans import SpanRecorder, record_spans


@pytest.fixture
def spans() -> Iterator[SpanRecorder]:
    """Every span that this process ends during the test, in memory; global state is restored."""
    with record_spans() as recorder:
        yield recorder


@pytest.fixture
def otlp_sink() -> Iterator[OtlpSink]:
    """A real OTLP receiver (HTTP) on a free loopback port, for spans of other processes."""
    with OtlpSink() as sink:
        yield sink
