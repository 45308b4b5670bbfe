"""An exporter that pauses before its next attempt tries at once when a flush, or the end of the process, asks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from grpc import StatusCode
from obs_core import TracingConfig
from obs_core._config.settings import resolve
from obs_core._export.exporters import build_exporter
from obs_core._export.options import BatchOptions
from obs_core._export.processor import BatchExportProcessor
from obs_core._export.retry_pause import PauseCut, RetryPause
from obs_core.testing import wait_until
from opentelemetry.sdk.trace import TracerProvider

from .answering import grpc_collector, http_collector

pytestmark = pytest.mark.promise("CORE-38")

#: Less than the exporters have for a batch, in seconds.
_PAUSE_S = 9


class Collector:
    """Answers that it is busy, and to be asked again in 9 s, until `is_well`; counts what it is asked."""

    def __init__(self) -> None:
        self.url = ""
        self.is_well = False
        self.asked = 0

    def is_busy(self) -> bool:
        self.asked += 1
        return not self.is_well


@pytest.fixture
def over_http() -> Iterator[Collector]:
    """A collector over HTTP."""
    found = Collector()
    with http_collector(lambda: 503 if found.is_busy() else 200, _PAUSE_S) as found.url:
        yield found


@pytest.fixture
def over_grpc() -> Iterator[Collector]:
    """A collector over gRPC."""
    found, busy, well = Collector(), StatusCode.UNAVAILABLE, StatusCode.OK
    with grpc_collector(
        lambda: busy if found.is_busy() else well, _PAUSE_S
    ) as found.url:
        yield found


@pytest.fixture(params=["http", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    """How the spans are sent."""
    return str(request.param)


@pytest.fixture
def collector(protocol: str, request: pytest.FixtureRequest) -> Collector:
    """A collector that is busy."""
    found: Collector = request.getfixturevalue(f"over_{protocol}")
    return found


@pytest.fixture(params=["light", "sdk"])
def pausing(
    collector: Collector, protocol: str, request: pytest.FixtureRequest
) -> Iterator[BatchExportProcessor]:
    """An export of one span whose exporter pauses for some seconds."""
    config = TracingConfig(
        service_name="s", collector_url=collector.url, collector_protocol=protocol
    )
    settings = resolve(config, {"OBS_CORE_SPANS": request.param})
    processor = BatchExportProcessor(
        lambda: build_exporter(settings),
        collector.url,
        BatchOptions(schedule_delay_s=0.01),
    )
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.get_tracer("test").start_span("span").end()
    # exporters that do not heed Retry-After pause for 1 s, 2 s, then 4 s
    long = 3 if protocol == "http" and not _heeds_retry_after() else 1
    wait_until(lambda: collector.asked >= long, 20)
    yield processor
    processor.shutdown(0)


def _heeds_retry_after() -> bool:
    from opentelemetry.exporter.otlp.proto.http import trace_exporter

    return hasattr(trace_exporter, "_http")


@pytest.mark.parametrize(
    "end",
    [lambda export: export.force_flush(2_500), lambda export: export.shutdown(2.7)],
    ids=["flush", "exit"],
)
def test_a_pause_ends_where_the_process_cannot_wait(
    collector: Collector, pausing: BatchExportProcessor, end: Callable[[Any], Any]
) -> None:
    """The collector is back: what waits reaches it, within the time there is."""
    collector.is_well = True
    end(pausing)
    assert (pausing.stats().exported, pausing.stats().failed) == (1, 0)


def test_a_collector_that_stays_busy_is_asked_no_more_than_that(
    collector: Collector, pausing: BatchExportProcessor
) -> None:
    """And at once a second time, however many flushes ask in vain; the exit ends in time and counts the span."""
    asked = collector.asked
    assert [pausing.force_flush(50) for _ in range(10)] == [False] * 10
    assert collector.asked - asked <= 2 * 2
    pausing.shutdown(0.5)
    assert pausing.stats().dropped_outage == 1


def test_cuts_are_a_second_apart() -> None:
    """The first at once; one that was asked for before the pause counts too."""
    pause, began = RetryPause(), time.monotonic()
    for _ in range(2):
        pause.begin()
        pause.cut()
        with pytest.raises(PauseCut):
            pause.wait(60)
        pause.begin()
        assert pause.wait(60) is False  # the second attempt follows soon
    assert 1 <= time.monotonic() - began < 30


def test_a_pause_is_cut_from_another_thread() -> None:
    """At any moment."""
    pause = RetryPause()
    pause.begin()
    timer = threading.Timer(0.05, pause.cut)
    timer.start()
    with pytest.raises(PauseCut):
        pause.wait(60)
    timer.join()


def test_an_attempt_that_was_not_hurried_keeps_its_pause() -> None:
    """A cut is of the attempt that was under way."""
    pause = RetryPause()
    pause.cut()
    pause.begin()
    assert pause.wait(0.01) is False


def test_a_close_ends_the_pause_and_the_attempts() -> None:
    """As the exporter's own event does."""
    pause = RetryPause()
    pause.begin()
    assert not pause.is_set()
    timer = threading.Timer(0.05, pause.set)
    timer.start()
    assert pause.wait(60)
    assert pause.is_set()
    timer.join()
