"""Metrics on their way to a collector, of every process by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from obs_core.testing import OtlpSink, SinkPoint

from .conftest import Run

pytestmark = pytest.mark.promise("CORE-96")
SET_UP = """
import json, logging, os, sys, threading, time
logging.basicConfig(format="%(name)s|%(message)s", stream=sys.stderr)
from opentelemetry import metrics, trace
early = metrics.get_meter("early").create_counter("early")
from obs_core import TracingConfig, setup_tracing
def set_up(**options):
    options.setdefault("metrics", True)
    return setup_tracing(TracingConfig(service_name="orders", collector_url=sys.argv[1], **options)).manager
meter = metrics.get_meter("shop", "1.0")
"""


def of(points: list[SinkPoint], name: str) -> list[SinkPoint]:
    return [point for point in points if point.name == name]


def test_every_kind_of_instrument_is_exported(run: Run, otlp_sink: OtlpSink) -> None:
    """With the buckets that it advises, and an exemplar of the span; also one that was made before the set-up."""
    done = run(
        """
        manager = set_up()
        meter = metrics.get_meter("shop")
        counter, up_down = meter.create_counter("orders", "{order}"), meter.create_up_down_counter("open")
        histogram = meter.create_histogram("wait", "s", explicit_bucket_boundaries_advisory=[0.1, 1])
        gauge = meter.create_gauge("level")
        for kind, value in (("counter", 4), ("up_down_counter", 5), ("gauge", 6)):
            getattr(meter, "create_observable_" + kind)("asked." + kind, [lambda _, value=value: [metrics.Observation(value)]])
        with trace.get_tracer("t").start_as_current_span("span") as span:
            print(span.get_span_context().trace_id)
            counter.add(2, {"a": "b"})
            counter.add(1, {"a": "b"})
            up_down.add(-1)
            histogram.record(0.3)
            gauge.set(7)
            early.add(1)
        assert manager.flush(20)
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    points = {point.name: point for point in otlp_sink.metrics}
    values = {name: point.value for name, point in points.items() if "otel" not in name}
    assert values == {
        "orders": 3,
        "open": -1,
        "wait": 0.3,
        "level": 7,
        "early": 1,
        "asked.counter": 4,
        "asked.up_down_counter": 5,
        "asked.gauge": 6,
    }
    orders = of(otlp_sink.metrics, "orders")[0]
    assert (orders.unit, orders.scope, orders.attributes) == (
        "{order}",
        "shop",
        {"a": "b"},
    )
    assert points["wait"].bounds == (0.1, 1.0)
    assert set(orders.exemplars) == {int(done.stdout)}
    assert orders.resource == otlp_sink.wait_for(1)[0].resource


def test_the_export_s_own_counts_are_metrics(run: Run, otlp_sink: OtlpSink) -> None:
    """As the SDK's batch processor has them."""
    run(
        """
        manager = set_up()
        trace.get_tracer("t").start_span("span").end()
        assert manager.flush(20)
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    (processed,) = of(otlp_sink.metrics, "otel.sdk.processor.span.processed")[-1:]
    assert processed.value == 1


def test_the_counts_of_log_records_are_metrics(run: Run, otlp_sink: OtlpSink) -> None:
    """A forked child counts its own."""
    run(
        """
        manager = set_up(logs=True, max_queue_size=700)
        for number in range(25):
            logging.warning("line %d", number)
        assert manager.flush(20)
        if not os.fork():
            logging.warning("of the child")
            assert manager.flush(20) and manager.flush(20)  # the second counts what the first exports
            os._exit(0)
        os.wait()
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    name = "otel.sdk.processor.log."
    counted: dict[int, float] = {}
    for point in of(otlp_sink.metrics, f"{name}processed"):
        counted[point.resource["process.pid"]] = point.value
        assert (point.unit, point.kind) == ("{log_record}", "sum")
        assert point.attributes["otel.component.type"] == "batching_log_processor"
    assert sorted(counted.values()) == [1, 25]
    capacity = of(otlp_sink.metrics, f"{name}queue.capacity")
    assert {point.value for point in capacity} == {700}


def test_a_forked_child_begins_at_zero_as_an_instance_of_its_own(
    run: Run, otlp_sink: OtlpSink
) -> None:
    """The SDK's child goes on with the parent's sums, under the parent's instance id: the total is wrong."""
    run(
        """
        manager = set_up()
        counter = meter.create_counter("orders")
        meter.create_observable_gauge("pid", [lambda _: [metrics.Observation(os.getpid())]])
        counter.add(10)
        assert manager.flush(20)
        for number in range(2):
            if not os.fork():
                counter.add(1)
                assert manager.flush(20)
                os._exit(0)
            os.wait()
        counter.add(10)
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    last: dict[Any, SinkPoint] = {}
    for point in of(otlp_sink.metrics, "orders"):
        last[point.resource["service.instance.id"]] = point
    parent, *children = last.values()
    assert (parent.value, [child.value for child in children]) == (20, [1, 1])
    assert all(child.start_time > parent.start_time for child in children)
    for point in of(otlp_sink.metrics, "pid"):
        assert point.value == point.resource["process.pid"]


def test_no_lock_of_the_parent_is_waited_for(run: Run, otlp_sink: OtlpSink) -> None:
    """Fork while threads record all the time: every child records and ends."""
    run(
        """
        manager = set_up(metric_interval_s=0.01)
        counter = meter.create_counter("orders")
        is_over = False
        def record():
            while not is_over:
                counter.add(1)
        threads = [threading.Thread(target=record) for _ in range(4)]
        for thread in threads: thread.start()
        children = []
        for number in range(20):
            if not (child := os.fork()):
                counter.add(1)
                manager.flush(20)
                os._exit(0)
            children.append(child)
        codes = [os.waitpid(child, 0)[1] for child in children]
        is_over = True
        for thread in threads: thread.join()
        assert codes == [0] * 20
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )


@pytest.mark.promise("CORE-20")
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_exit_takes_its_time_once_for_all_signals(
    run: Run, silent_port: int, protocol: str
) -> None:
    """Spans, log records and metrics wait for a silent collector at the same time."""
    done = run(
        """
        set_up(exit_timeout_s=1, collector_protocol=sys.argv[2], logs=True)
        meter.create_counter("orders").add(1)
        for number in range(600):
            trace.get_tracer("t").start_span("span").end()
            logging.warning("line")
        """,
        f"http://127.0.0.1:{silent_port}",
        protocol,
        prelude="import atexit, time\n"
        "atexit.register(lambda: print(f'GONE {time.monotonic()}', flush=True))\n"
        + SET_UP,
    )
    assert done.exit_s < 1.9


def test_an_outage_is_a_line(run: Run, otlp_sink: OtlpSink) -> None:
    """And nothing of the exporters; a flush says that nothing was taken."""
    otlp_sink.respond = (
        400  # 503 is what the exporters of 1.28 retry for a minute, in silence
    )
    done = run(
        """
        manager = set_up(export_timeout_s=0.2)
        meter.create_counter("orders").add(1)
        print(manager.flush(5), manager.flush(5))
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    assert done.stdout == "False False"
    said = done.lines("obs_core.export")
    assert sum("does not take metrics" in line for line in said) == 1
    assert [line for line in done.stderr.splitlines() if "opentelemetry" in line] == []


def test_another_provider_is_left_alone(run: Run, otlp_sink: OtlpSink) -> None:
    """The global one can be set once: the status says so."""
    done = run(
        """
        from opentelemetry.sdk.metrics import MeterProvider
        theirs = MeterProvider(shutdown_on_exit=False)
        metrics.set_meter_provider(theirs)
        manager = set_up()
        print(json.dumps([metrics.get_meter_provider() is theirs, *manager.status.problems]))
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    is_theirs, problem = json.loads(done.stdout)
    assert is_theirs
    assert problem == "another MeterProvider is in force: metrics=True is left out"


def test_instruments_follow_a_later_set_up(run: Run, otlp_sink: OtlpSink) -> None:
    """After a shutdown nothing is recorded; the next set-up begins at zero."""
    run(
        """
        counter = meter.create_counter("orders")
        for amount in (1, 2):
            manager = set_up()
            counter.add(amount)
            manager.shutdown()
            counter.add(100)
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    assert [point.value for point in of(otlp_sink.metrics, "orders")] == [1, 2]


def test_nothing_of_the_metrics_sdk_s_exporter_is_imported_unless_asked_for(
    run: Run, otlp_sink: OtlpSink
) -> None:
    """Nor is a MeterProvider set."""
    done = run(
        """
        set_up(metrics=False).flush()
        names = "opentelemetry.exporter.otlp.proto.http.metric_exporter", "obs_core._metrics.provider"
        print([name for name in names if name in sys.modules])
        print(type(metrics.get_meter_provider()).__name__)
        """,
        otlp_sink.url,
        prelude=SET_UP,
    )
    assert done.stdout.splitlines() == ["[]", "_ProxyMeterProvider"]


@pytest.mark.parametrize(
    ("option", "fix"),
    [
        ({"metrics": "yes"}, "give True or False"),
        ({"metric_interval_s": 0}, "give a number of seconds above 0"),
    ],
)
def test_a_wrong_value_says_the_fix(option: dict[str, Any], fix: str) -> None:
    """In code it raises."""
    from obs_core import TracingConfig
    from obs_core.exceptions import ConfigurationError

    with pytest.raises(ConfigurationError, match=fix):
        TracingConfig(service_name="s", **option)
