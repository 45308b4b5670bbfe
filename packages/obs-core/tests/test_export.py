"""The span processor that exports, in one process."""

from __future__ import annotations

import gc
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from obs_core._export.options import BatchOptions, SpoolOptions
from obs_core._export.processor import BatchExportProcessor
from obs_core._export.stats import ExportStats, Tally
from obs_core._export.wakeup import Signal
from obs_core.testing import wait_until
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult


class Collector(SpanExporter):
    """An exporter that answers as told: SUCCESS, FAILURE, an exception, or not before `gate` opens."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.batches: list[int] = []
        self.answers: Iterator[object] = iter(())
        self.gate = threading.Event()
        self.gate.set()
        self.is_closed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.batches.append(len(spans))
        self.gate.wait(20)
        answer = next(self.answers, SpanExportResult.SUCCESS)
        if isinstance(answer, Exception):
            raise answer
        if answer is SpanExportResult.SUCCESS:
            self.taken += [span.name for span in spans]
        return answer

    def shutdown(self) -> None:
        self.is_closed = True
        self.gate.set()


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def start(
    collector: Collector,
) -> Iterator[Callable[..., tuple[BatchExportProcessor, Callable[..., None]]]]:
    """Start a processor with the given options; return it and a function that makes spans."""
    made: list[BatchExportProcessor] = []

    def begin(
        spool: SpoolOptions | None = None, **options: object
    ) -> tuple[BatchExportProcessor, Callable[..., None]]:
        processor = BatchExportProcessor(
            lambda: collector, "http://collector:4317", BatchOptions(**options), spool
        )
        made.append(processor)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        tracer = provider.get_tracer("test")

        def spans(count: int, name: str = "span") -> None:
            for _ in range(count):
                tracer.start_span(name).end()

        return processor, spans

    yield begin
    collector.gate.set()
    for processor in made:
        processor.shutdown(0)


FAILURE = SpanExportResult.FAILURE


@pytest.mark.promise("CORE-21")
def test_flush_exports_everything_now(start, collector) -> None:
    """In batches of the configured size, and True."""
    processor, spans = start(max_export_batch_size=10, schedule_delay_s=60)
    spans(25)
    assert processor.force_flush(10_000)
    assert (len(collector.taken), max(collector.batches)) == (25, 10)


@pytest.mark.promise("CORE-21")
@pytest.mark.parametrize("timeout_s", [0.0, 0.3])
def test_flush_returns_false_at_its_deadline(start, collector, timeout_s) -> None:
    """The SDK's flush ignores its timeout and waits for the exporter."""
    collector.gate.clear()
    processor, spans = start()
    spans(1)
    before = time.monotonic()
    assert processor.force_flush(int(timeout_s * 1000)) is False
    assert timeout_s <= time.monotonic() - before < timeout_s + 1


@pytest.mark.promise("CORE-21")
def test_flush_tells_at_once_that_the_collector_refused(start, collector) -> None:
    """False does not take the whole timeout when the answer is known."""
    collector.answers = iter([FAILURE])
    processor, spans = start(schedule_delay_s=60)
    spans(1)
    before = time.monotonic()
    assert processor.force_flush(20_000) is False
    assert time.monotonic() - before < 10


def test_flush_with_nothing_to_do_is_true_and_starts_no_thread(start) -> None:
    """A process that never traced anything has no export thread, so it forks without a warning."""
    before = set(threading.enumerate())
    processor, _ = start()
    assert processor.force_flush(0)
    assert set(threading.enumerate()) <= before


def test_a_span_leaves_within_schedule_delay(start, collector) -> None:
    """No batch needs to fill up."""
    _, spans = start(schedule_delay_s=0.05)
    spans(1)
    wait_until(lambda: collector.taken == ["span"])


def test_a_full_batch_leaves_at_once(start, collector) -> None:
    """Nobody waits for `schedule_delay_s` when there is enough to send; what is over waits for its own batch."""
    _, spans = start(schedule_delay_s=60, max_export_batch_size=10)
    spans(15)
    wait_until(lambda: len(collector.taken) == 10)
    assert collector.batches == [10]


@pytest.mark.promise("CORE-29", "CORE-27")
def test_a_full_queue_drops_and_counts_and_never_waits(start, collector) -> None:
    """The collector hangs; 1,000 spans end into a queue of 100 within a moment."""
    collector.gate.clear()
    processor, spans = start(max_queue_size=100, max_export_batch_size=10)
    before = time.monotonic()
    spans(1000)
    assert time.monotonic() - before < 15  # the collector would hang for 20
    assert processor.stats() == ExportStats(started=1000, dropped_queue_full=900)


@pytest.mark.promise("CORE-27")
def test_stats_tell_what_became_of_each_span(start, collector) -> None:
    """Exported, failed after three offers, dropped in an outage: each span in one count, the sum right."""
    collector.answers = iter(
        [SpanExportResult.SUCCESS, FAILURE, FAILURE, FAILURE, FAILURE]
    )
    processor, spans = start(
        max_queue_size=3, max_export_batch_size=3, schedule_delay_s=60
    )
    spans(3)
    assert processor.force_flush(10_000)
    spans(3)
    assert [processor.force_flush(10_000) for _ in range(3)] == [False] * 3
    assert processor.stats() == ExportStats(started=6, exported=3, failed=3)
    spans(5)
    assert processor.stats() == ExportStats(
        started=11, exported=3, failed=3, dropped_outage=2
    )
    processor.shutdown(5)
    assert processor.stats() == ExportStats(
        started=11, exported=3, failed=3, dropped_outage=5
    )


@pytest.mark.promise("CORE-27")
def test_spans_that_end_after_shutdown_are_counted(start, collector) -> None:
    """They are nobody's any more."""
    processor, spans = start()
    processor.shutdown()
    spans(2)
    assert processor.stats() == ExportStats(started=2, dropped_outage=2)
    assert collector.taken == []
    assert collector.is_closed


@pytest.mark.promise("CORE-27")
def test_each_span_is_counted_once_when_shutdown_races_with_a_late_success(
    start, collector
) -> None:
    """The batch in flight at the deadline counts as dropped, also if it is taken a moment later."""
    collector.gate.clear()
    processor, spans = start(max_export_batch_size=5)
    spans(7)
    wait_until(lambda: collector.batches == [5])
    processor.shutdown(0.3)
    wait_until(lambda: collector.taken != [])
    stats = processor.stats()
    assert stats.exported + stats.dropped_outage == 7


def test_tally_counts_right_while_it_is_read() -> None:
    """Four threads raise it, a fifth looks all the time."""
    tally, stop = Tally(), threading.Event()

    def raise_it() -> None:
        for _ in range(20_000):
            tally.add_one()

    threads = [threading.Thread(target=raise_it) for _ in range(4)]
    reader = threading.Thread(
        target=lambda: [tally.value for _ in iter(stop.is_set, True)]
    )
    for thread in [*threads, reader]:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    reader.join()
    assert tally.value == 80_000


def test_unsampled_spans_are_neither_counted_nor_exported(collector) -> None:
    """A foreign provider may record what it does not sample."""
    from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

    class RecordOnly(Sampler):
        def should_sample(self, *args, **kwargs):
            return SamplingResult(Decision.RECORD_ONLY)

        def get_description(self):
            return "record only"

    processor = BatchExportProcessor(lambda: collector, "x")
    provider = TracerProvider(sampler=RecordOnly(), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.get_tracer("test").start_span("span").end()
    assert processor.stats() == ExportStats()
    processor.shutdown()


@pytest.mark.promise("CORE-22")
def test_an_outage_is_two_log_lines(start, collector, caplog) -> None:
    """Down, with the reason; back, with what was lost since it went; however many batches fail in between."""
    taken = SpanExportResult.SUCCESS
    collector.answers = iter(
        [ConnectionError("refused"), FAILURE, FAILURE, taken, taken, FAILURE]
    )
    processor, spans = start(max_queue_size=5, schedule_delay_s=60)
    spans(7)
    assert [processor.force_flush(10_000) for _ in range(3)] == [False] * 3
    spans(1, "new")
    assert processor.force_flush(10_000)
    spans(1, "later")
    assert processor.force_flush(10_000)
    spans(1, "kept")
    assert [processor.force_flush(10_000) for _ in range(2)] == [False, True]
    texts = [
        re.sub(r"after \d+ s", "after N s", record.getMessage())
        for record in caplog.records
    ]
    assert texts == [
        "collector http://collector:4317 does not take spans (ConnectionError: refused); keeping and retrying",
        "collector http://collector:4317 is back after N s; 7 spans were lost",
        "collector http://collector:4317 does not take spans (it gave no reason); keeping and retrying",
        "collector http://collector:4317 is back after N s; 0 spans were lost",
    ]
    assert collector.taken == ["new", "later", "kept"]


@pytest.mark.promise("CORE-22")
def test_the_exporters_own_lines_are_only_the_reason(start, collector, caplog) -> None:
    """Contrib's exporter logs every try; the log keeps one line, which quotes the first of them."""
    import logging

    logger = logging.getLogger("opentelemetry.exporter.test")

    def complain(spans: Sequence[ReadableSpan]) -> SpanExportResult:
        logger.warning("Transient error %s", "UNAVAILABLE")
        logger.error("Failed to export")
        return FAILURE

    collector.export = complain
    processor, spans = start(schedule_delay_s=60)
    spans(1)
    processor.force_flush(10_000)
    logger.error("someone else's line")
    texts = [record.getMessage() for record in caplog.records]
    assert texts[0].endswith(
        "does not take spans (Transient error UNAVAILABLE); keeping and retrying"
    )
    assert texts[1:] == ["someone else's line"]


@pytest.mark.promise("CORE-24")
def test_an_exporter_that_cannot_be_built_again_is_an_outage(collector, caplog) -> None:
    """As in a forked child without the credentials file: said once, tried again."""
    attempts = iter([collector, OSError("no file"), collector])

    def build() -> SpanExporter:
        made = next(attempts)
        if isinstance(made, Exception):
            raise made
        return made

    processor = BatchExportProcessor(build, "x", BatchOptions(schedule_delay_s=60))
    processor.after_fork_in_child()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.get_tracer("test").start_span("span").end()
    assert processor.force_flush(10_000) is False
    assert processor.force_flush(10_000) is True
    assert collector.taken == ["span"]
    assert "OSError: no file" in caplog.text
    processor.shutdown()


@pytest.mark.promise("CORE-29", "CORE-28")
@pytest.mark.parametrize("spools", [False, True])
def test_a_signal_handler_may_end_a_span_at_any_step(
    start, collector, tmp_path, spools
) -> None:
    """An `Event` or a plain lock in `on_end` deadlocks here: the handler runs on the thread that holds it."""
    processor, spans = start(
        max_export_batch_size=1,
        max_queue_size=10**6,
        spool=SpoolOptions(tmp_path) if spools else None,
    )
    fired = 0

    def handler(*_: object) -> None:
        nonlocal fired
        fired += 1
        spans(1, "handler")

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    made = 0
    try:
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            spans(1)
            made += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert fired > 10
    assert processor.force_flush(20_000)
    assert processor.stats() == ExportStats(started=made + fired, exported=made + fired)


@pytest.mark.promise("CORE-29", "CORE-28")
@pytest.mark.parametrize("spools", [False, True])
def test_a_finalizer_may_end_a_span_at_any_step(start, tmp_path, spools) -> None:
    """The garbage collector may run inside `on_end`, and a finalizer may end a span there."""
    processor, spans = start(
        max_export_batch_size=1,
        max_queue_size=10**6,
        spool=SpoolOptions(tmp_path) if spools else None,
    )

    class EndsASpan:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            spans(1, "finalizer")

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            EndsASpan()
            spans(1)
    finally:
        gc.set_threshold(*before)
    deadline = time.monotonic() + 20
    # a collection that another thread has begun makes this one return at once
    while processor.stats().exported < 400 and time.monotonic() < deadline:
        gc.collect()
        assert processor.force_flush(20_000)
    assert processor.stats().exported == 400


def test_signal_is_kept_until_someone_waits_and_given_once() -> None:
    """Two sends before a wait are one wake-up."""
    wake = Signal()
    wake.send()
    wake.send()
    assert wake.wait(0) is True
    assert wake.wait(0.01) is False


def test_shutdown_of_an_exporter_that_hangs_returns_in_time(start, collector) -> None:
    """Neither an export nor a close that never returns holds the caller."""
    collector.gate.clear()
    collector.shutdown = lambda: threading.Event().wait(20)
    processor, spans = start()
    spans(1)
    before = time.monotonic()
    processor.shutdown(0.5)
    assert time.monotonic() - before < 1.5


def test_a_failing_close_is_logged_and_contained(start, collector, caplog) -> None:
    """It must not take the exit down."""

    def broken() -> None:
        raise RuntimeError("cannot close")

    collector.shutdown = broken
    processor, spans = start()
    spans(1)
    processor.shutdown()
    assert processor.stats().exported == 1
    assert "span exporter's shutdown failed" in caplog.text


@pytest.mark.promise("CORE-09")
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_text_without_utf8_does_not_cost_the_batch(
    run, otlp_sink, grpc_sink, protocol
) -> None:
    """A lone surrogate, as in a file name of another encoding, or a name that is no text: OTLP's encoder refuses them."""
    url = grpc_sink.url if protocol == "grpc" else otlp_sink.url
    done = run(
        f"""
        from opentelemetry.trace import Link, SpanContext, Status, StatusCode
        manager, _ = setup_tracing(TracingConfig(service_name="s", collector_url="{url}", schedule_delay_s=60))
        broken = "a" + chr(0xD800)
        tracer.start_span(broken).end()
        tracer.start_span(7).end()
        trace.get_tracer(broken).start_span("scope").end()
        linked = Link(SpanContext(1, 2, True), {{broken: broken}})
        span = tracer.start_span("all", links=[linked], attributes={{broken: broken}})
        span.set_attribute("list", [broken, "b"])
        span.add_event(broken, {{broken: broken}})
        span.set_status(Status(StatusCode.ERROR, broken))
        span.end()
        spans(1, "sound")
        assert manager.flush(20)
        assert manager.stats().exported == 5, manager.stats()
        """
    )
    assert done.stderr == ""
    if protocol == "grpc":
        assert sorted(grpc_sink.wait_for(5)) == ["7", "a?", "all", "scope", "sound"]
        return
    received = {span.name: span for span in otlp_sink.wait_for(5)}
    assert sorted(received) == ["7", "a?", "all", "scope", "sound"]
    assert received["all"].attributes == {"a?": "a?", "list": ["a?", "b"]}
    assert received["all"].events == (("a?", {"a?": "a?"}),)
    assert received["all"].links == ((1, 2),)
    assert (received["all"].status, received["all"].description) == ("ERROR", "a?")


def test_an_exporter_that_raises_for_sound_spans_is_asked_once(
    start, collector
) -> None:
    """Its error is not the spans' fault; a second try would send them twice."""
    collector.answers = iter([ValueError("mine")])
    processor, spans = start(schedule_delay_s=60)
    spans(1)
    assert processor.force_flush(10_000) is False
    assert collector.batches == [1]
