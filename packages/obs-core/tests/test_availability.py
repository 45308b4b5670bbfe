"""A batch is given up where a collector refuses it, and kept where the collector takes nothing for now and there is room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress

import grpc
import pytest
from obs_core import TracingConfig
from obs_core._config.settings import resolve
from obs_core._export.exporters import build_exporter
from obs_core._export.options import BatchOptions
from obs_core._export.processor import BatchExportProcessor
from obs_core._export.verdict import take_verdict
from opentelemetry.sdk.trace import TracerProvider

from .answering import grpc_collector, http_collector

pytestmark = pytest.mark.promise("CORE-37")

#: More than an exporter has for a batch, in seconds: it gives up at once.
_LONG_S = 120
WELL = {"http": "200", "grpc": "OK"}
Answers = dict[str, str]


def collector(protocol: str, answers: Answers) -> AbstractContextManager[str]:
    """Answer with the status in `answers`, whatever it is by then; the URL is given."""
    if protocol == "http":
        return http_collector(lambda: int(answers["status"]), _LONG_S)
    return grpc_collector(lambda: grpc.StatusCode[answers["status"]], _LONG_S)


Export = Callable[[str, Answers], BatchExportProcessor]


@pytest.fixture
def export() -> Iterator[Export]:
    """Export four spans, two a batch, over a protocol to a collector that gives the answers of the test."""
    with ExitStack() as ended:

        def begin(protocol: str, answers: Answers) -> BatchExportProcessor:
            url = ended.enter_context(collector(protocol, answers))
            config = TracingConfig(
                service_name="s",
                collector_url=url,
                collector_protocol=protocol,
                export_timeout_s=0.75,  # less than the first pause
            )
            settings = resolve(config, {})
            processor = BatchExportProcessor(
                lambda: build_exporter(settings),
                url,
                BatchOptions(
                    schedule_delay_s=60, max_queue_size=6, max_export_batch_size=2
                ),
            )
            ended.callback(processor.shutdown, 0)
            spans(processor, 4)
            return processor

        yield begin


def spans(processor: BatchExportProcessor, count: int) -> None:
    """Hand `count` ended spans to `processor`."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    for _ in range(count):
        provider.get_tracer("test").start_span("span").end()


def _gives_up_early() -> bool:
    """Whether the exporters give up a batch at once that they may not offer again in time: not before 1.36."""
    from opentelemetry.exporter.otlp.proto.grpc import exporter

    return not hasattr(exporter, "sleep")


BUSY = [
    *(("http", status) for status in ("429", "502", "503", "504")),
    *(("grpc", code) for code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DATA_LOSS")),
]
REFUSING = [
    *(("http", status) for status in ("302", "400", "401", "404", "413", "500")),
    *(("grpc", code) for code in ("INVALID_ARGUMENT", "UNAUTHENTICATED", "INTERNAL")),
]


@pytest.mark.skipif(not _gives_up_early(), reason="one offer takes a minute")
@pytest.mark.parametrize(("protocol", "status"), BUSY)
def test_what_is_not_taken_for_now_is_kept(
    export: Export, protocol: str, status: str
) -> None:
    """However often it was offered; then all arrive."""
    answers = {"status": status}
    exporting = export(protocol, answers)
    for _ in range(5):
        assert not exporting.force_flush(10_000)
    assert exporting.stats().failed == 0
    answers["status"] = WELL[protocol]
    assert exporting.force_flush(10_000)
    assert exporting.stats().exported == 4


@pytest.mark.skipif(not _gives_up_early(), reason="one offer takes a minute")
@pytest.mark.parametrize(("protocol", "status"), BUSY[::3])
def test_a_full_queue_gives_the_oldest_up(
    export: Export, protocol: str, status: str
) -> None:
    """So that what is newer has room; each is counted."""
    exporting = export(protocol, {"status": status})
    spans(exporting, 2)
    assert [exporting.force_flush(10_000) for _ in range(5)] == [False] * 5
    stats = exporting.stats()
    assert (stats.failed, exporting.queue_size) == (2, 4)


@pytest.mark.parametrize(("protocol", "status"), REFUSING)
def test_what_is_refused_is_given_up(
    export: Export, protocol: str, status: str
) -> None:
    """After three offers, so that it cannot block the rest."""
    if (protocol, status) == ("http", "500") and not _gives_up_early():
        pytest.skip("offered again for a minute")
    answers = {"status": status}
    exporting = export(protocol, answers)
    for _ in range(3):
        assert not exporting.force_flush(10_000)
    answers["status"] = WELL[protocol]
    assert exporting.force_flush(10_000)
    stats = exporting.stats()
    assert (stats.failed, stats.exported) == (2, 2)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_collector_that_is_not_there_takes_nothing_for_now(
    refusing_port: int, protocol: str
) -> None:
    """Nobody has refused the batch."""
    if protocol == "grpc" and not _gives_up_early():
        pytest.skip("one offer takes a minute")
    config = TracingConfig(
        service_name="s",
        collector_url=f"http://127.0.0.1:{refusing_port}",
        collector_protocol=protocol,
        export_timeout_s=0.5,
    )
    exporter = build_exporter(resolve(config, {}))
    take_verdict()
    with suppress(OSError):  # the exporter of HTTP raises in older versions
        exporter.export([])
    assert take_verdict().is_unavailable
    exporter.shutdown()
