"""The buffer of unsampled requests is bounded, and costs nothing where it is off."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from obs_core import Keep
from obs_core._correlation.processor import CorrelationSpanProcessor
from obs_core._export import keeper as keeper_module
from obs_core._export.keeper import Keeper
from obs_core._provider.provider import SwitchableProvider
from obs_core._provider.resource import ProcessResource
from obs_core._spans.kept import recording_of
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import StatusCode, set_span_in_context

from tests.call_counts import function_calls

pytestmark = pytest.mark.promise("CORE-92")
ATTRIBUTES = {f"http.request.header.{n}": f"value {n} " * 3 for n in range(8)}


class Sink:
    """Counts what it is given."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.attributes: list[Any] = []
        self.dropped = 0
        self.is_full = False

    def put_kept(self, span: Any) -> None:
        self.names.append(span.name)
        self.attributes.append(dict(span.attributes))

    def drop_unsampled(self) -> None:
        self.dropped += 1

    def has_room(self) -> bool:
        return not self.is_full


class Service:
    """A set-up that samples nothing."""

    def __init__(self, **limits: Any) -> None:
        self.sink = Sink()
        self.keeper = Keeper(Keep(**limits), self.sink)
        self.switchable = SwitchableProvider(ProcessResource({}))
        self.switchable.sample(0.0)
        self.switchable.keep(self.keeper)
        self.switchable.pipeline.processors = (self.keeper,)
        self.tracer = self.switchable.provider.get_tracer("test")

    def root(self, name: str = "root") -> trace.Span:
        return self.tracer.start_span(name, Context())

    def parts(self, root: trace.Span, count: int, **options: Any) -> None:
        context = set_span_in_context(root, Context())
        for number in range(count):
            self.tracer.start_span(f"part {number}", context, **options).end()


def fail(span: trace.Span) -> None:
    span.set_status(StatusCode.ERROR)
    span.end()


def test_the_oldest_spans_of_a_large_request_are_dropped() -> None:
    """A hundred thousand spans: the last ones are kept, the root says how many are missing, and they are counted."""
    service = Service(max_spans=100, max_bytes=1 << 30)
    root = service.root()
    service.parts(root, 100_000)
    assert service.keeper.size < 200_000
    fail(root)
    assert service.sink.names == [
        *(f"part {number}" for number in range(99_901, 100_000)),
        "root",
    ]
    assert service.sink.dropped == 99_901
    found = service.sink.attributes[-1]
    assert found == {"obs.kept": "error", "obs.kept.dropped_spans": 99_901}


def test_the_request_that_waits_longest_gives_way() -> None:
    """Over the bytes of the process; its later spans are held again, and its root knows."""
    service = Service(max_bytes=100_000)
    old, young = service.root("old"), service.root("young")
    service.parts(old, 50)
    service.parts(young, 70)
    assert service.sink.dropped == 50
    fail(young)
    assert len(service.sink.names) == 71
    fail(old)
    assert service.sink.names[71:] == ["old"]
    assert service.sink.attributes[-1]["obs.kept.dropped_spans"] == 50


def test_a_request_that_never_ends_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `max_age_s`, at the next request that is held."""
    now = 1000.0
    monkeypatch.setattr(keeper_module.time, "monotonic", lambda: now)
    service = Service(max_age_s=60)
    endless, other = service.root("endless"), service.root()
    service.parts(endless, 5)
    now += 59
    service.parts(other, 1)
    assert service.sink.dropped == 0
    now += 2
    service.parts(service.root(), 1)
    assert service.sink.dropped == 5
    fail(other)
    assert service.sink.names == ["part 0", "root"]


def test_a_storm_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many requests a second are kept, whole; the others are dropped whole, and counted."""
    now = 1000.0
    monkeypatch.setattr(keeper_module.time, "monotonic", lambda: now)
    service = Service(max_requests_per_s=10)
    for _ in range(100):
        root = service.root()
        service.parts(root, 3)
        fail(root)
    assert service.sink.names.count("root") == 10
    assert (len(service.sink.names), service.sink.dropped) == (40, 360)
    now += 1
    fail(service.root("later"))
    assert service.sink.names[-1] == "later"


def test_sampled_spans_come_first() -> None:
    """Half of the export queue is theirs: a request that finds it full is dropped whole, also if told by a caller."""
    service = Service()
    service.sink.is_full = True
    root = service.root()
    service.parts(root, 3)
    fail(root)
    assert (service.sink.names, service.sink.dropped) == ([], 4)
    assert recording_of(root) is not None
    assert recording_of(root).reason is None  # type: ignore[union-attr] # asserted


def test_nothing_is_left_of_a_request() -> None:
    """Neither of a well one nor of a kept one, without the garbage collector."""
    service = Service()
    for fails in (False, True):
        root = service.root()
        service.parts(root, 3)
        fail(root) if fails else root.end()
        assert service.keeper.size == 0
        assert not service.keeper._holding


def traced_bytes(run: Callable[[], None]) -> tuple[int, int]:
    """Return what `run` leaves allocated, and the most that it has allocated."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("attributes", [{}, ATTRIBUTES], ids=["bare", "described"])
def test_held_spans_stay_within_the_bytes(attributes: dict[str, Any]) -> None:
    """Requests that never end, more than fit: what Python has allocated is below what is configured."""
    service = Service(max_bytes=2_000_000)
    described = [dict(attributes) for _ in range(3)]
    roots: list[Any] = []
    idle: list[Any] = []

    def run() -> None:
        for number in range(1_500):
            root = service.root()
            for each in described:
                unique = {key: f"{value}{number}" for key, value in each.items()}
                service.parts(root, 1, attributes=unique)
            roots.append(root)

    # open roots are the application's, and in no buffer
    open_roots, _ = traced_bytes(
        lambda: idle.extend(service.root() for _ in range(1_500))
    )
    run()
    roots.clear()
    _, most = traced_bytes(run)
    assert service.sink.dropped > 0
    assert 0.3 * 2_000_000 < most - open_roots < 2_000_000


def test_a_minute_of_well_requests_leaves_nothing() -> None:
    """60,000 requests, 50 open at any time: the most that is allocated is what 50 need."""
    service = Service()

    def run() -> None:
        open_roots = [service.root() for _ in range(50)]
        for number in range(60_000 // 50):
            root = open_roots[number % 50]
            service.parts(root, 10)
            root.end()
            open_roots[number % 50] = service.root()

    run()
    _, most = traced_bytes(run)
    assert most < 50 * 11 * 1_200
    assert service.sink.names == []
    assert service.sink.dropped == 0


class Life:
    """What a service does for a span, in each state of tracing."""

    def __init__(self, rate: float, keep: Keep | None) -> None:
        self.switchable = SwitchableProvider(ProcessResource({}))
        self.switchable.sample(rate)
        keeper = None if keep is None else Keeper(keep, Sink())
        self.switchable.keep(keeper)
        keepers = () if keeper is None else (keeper,)
        processors = (CorrelationSpanProcessor(), *keepers)
        self.switchable.pipeline.processors = processors

    def calls(self) -> int:
        tracer = self.switchable.provider.get_tracer("test")

        def run() -> None:
            tracer.start_span("a").end()

        return function_calls(run, self.switchable.provider)


def test_calls_of_a_span() -> None:
    """Off, a span has not one call more than before; on, one that is held has 1.6 times those of a sampled one."""
    assert Life(1.0, None).calls() <= 34
    assert Life(0.0, None).calls() <= 14
    assert Life(0.0, Keep()).calls() <= 53


def test_a_forked_child_has_an_empty_buffer(run: Any) -> None:
    """What is held at the fork is the parent's alone; what the child begins is the child's, also below the parent's span."""
    script = """
import os
from obs_core import Keep
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
config = TracingConfig(service_name="s", sampling_rate=0.0, keep=Keep())
manager = setup_tracing(config, span_exporter=exporter).manager
with tracer.start_as_current_span("root") as root:
    tracer.start_span("held").end()
    pid = os.fork()
    with tracer.start_as_current_span("child's" if pid == 0 else "parent's") as span:
        span.set_status(trace.StatusCode.ERROR)
    if pid == 0:
        root.end()
        manager.flush()
        print("child", sorted(s.name for s in exporter.get_finished_spans()), manager.stats().kept, flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
manager.flush()
print("parent", sorted(s.name for s in exporter.get_finished_spans()), manager.stats().kept)
"""
    lines = run(script).stdout.splitlines()
    assert lines[:2] == [
        'child ["child\'s"] 1',
        "parent ['held', \"parent's\", 'root'] 3",
    ]


def test_kept_spans_are_in_the_spool(run: Any, otlp_sink: Any, tmp_path: Any) -> None:
    """They survive a kill after the decision, like sampled ones; what is undecided is lost with the process."""
    spool = tmp_path / "spool"
    set_up = """
from obs_core import Keep
config = TracingConfig(service_name="s", sampling_rate=0.0, keep=Keep(), spool_dir=sys.argv[1], collector_url=sys.argv[2])
manager = setup_tracing(config).manager
"""
    killed = """
with tracer.start_as_current_span("undecided"):
    with tracer.start_as_current_span("fails", context=trace.set_span_in_context(trace.INVALID_SPAN)) as span:
        span.set_status(trace.StatusCode.ERROR)
    os.kill(os.getpid(), 9)
"""
    run(set_up + killed, str(spool), "http://127.0.0.1:9", status=-9)
    replay = """
while not manager.stats().replayed:
    time.sleep(0.01)
"""
    run(set_up + replay, str(spool), otlp_sink.url)
    (found,) = otlp_sink.spans
    assert (found.name, found.attributes["obs.kept"]) == ("fails", "error")


def test_the_decision_takes_no_lock() -> None:
    """A signal handler may end the root in the middle of another end: it is the same code in the same thread."""
    service = Service(max_spans=3)
    root = service.root()
    original = service.sink.put_kept

    def interrupted(span: Any) -> None:
        service.sink.put_kept = original  # type: ignore[method-assign] # once
        other = service.root("other")
        fail(other)
        original(span)

    service.sink.put_kept = interrupted  # type: ignore[method-assign] # for the test
    fail(root)
    assert sorted(service.sink.names) == ["other", "root"]
