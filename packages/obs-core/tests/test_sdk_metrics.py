"""``OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED`` counts for our processor what it counts for the SDK's."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import pytest
from obs_core._export.processor import BatchExportProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

PROCESSOR = "otel.sdk.processor."
SCRIPT = """
import json
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

class Gated(SpanExporter):
    gate, is_asked = threading.Event(), threading.Event()
    def export(self, spans):
        self.is_asked.set()
        self.gate.wait(20)
        return SpanExportResult.SUCCESS
    def shutdown(self): pass

reader, exporter = InMemoryMetricReader(), Gated()
metrics.set_meter_provider(MeterProvider([reader]))
sizes = dict(max_queue_size=10, max_export_batch_size=5)
if sys.argv[1] == "sdk":
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, **sizes))
    trace.set_tracer_provider(provider)
    flush, shutdown = provider.force_flush, provider.shutdown
else:
    manager, _ = setup_tracing(TracingConfig(service_name="s", **sizes), span_exporter=exporter)
    flush, shutdown = manager.flush, manager.shutdown

def told():
    found = [
        [metric.name, metric.unit, metric.description, type(metric.data).__name__,
         getattr(metric.data, "is_monotonic", None), dict(point.attributes), getattr(point, "value", None)]
        for group in getattr(reader.get_metrics_data(), "resource_metrics", ())
        for scope in group.scope_metrics for metric in scope.metrics for point in metric.data.data_points
    ]
    print(json.dumps(found))

spans(4)
told()
exporter.gate.set()
flush()
exporter.gate.clear()
exporter.is_asked.clear()
spans(5)
exporter.is_asked.wait(20)
spans({overflow})
exporter.gate.set()
flush()
told()
shutdown()
"""


def told(run, who: str, overflow: int, **environment: str) -> list[list[Any]]:
    """What the metrics say while four spans wait, and at the end; the component's number left out."""
    found = []
    for line in run(
        SCRIPT.replace("{overflow}", str(overflow)), who, **environment
    ).stdout.splitlines():
        points = [point for point in json.loads(line) if point[0].startswith(PROCESSOR)]
        for point in points:
            assert (
                point[5]
                .pop("otel.component.name")
                .startswith("batching_span_processor/")
            )
        found.append(sorted(points, key=str))
    return found


ENABLED = {"OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true"}


def test_what_becomes_of_each_span_is_counted(run) -> None:
    """Names, attributes and values: four spans wait, then they and 20 more are exported or dropped."""
    waiting, end = told(run, "ours", 15, **ENABLED)
    name, kind = f"{PROCESSOR}span.", {"otel.component.type": "batching_span_processor"}
    assert [(point[0], point[5], point[6]) for point in waiting] == [
        (f"{name}queue.capacity", kind, 10),
        (f"{name}queue.size", kind, 4),
    ]
    # the batch that is under way when ten more are dropped stays in our queue
    assert [(point[0], point[5], point[6]) for point in end] == [
        (f"{name}processed", {"error.type": "queue_full", **kind}, 10),
        (f"{name}processed", kind, 14),
        (f"{name}queue.capacity", kind, 10),
        (f"{name}queue.size", kind, 0),
    ]


def test_a_span_that_ends_after_the_shutdown_is_counted() -> None:
    """Under an error type of its own."""
    processor = BatchExportProcessor(InMemorySpanExporter, "http://collector")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    late = provider.get_tracer("test").start_span("late")
    processor.shutdown()
    late.end()
    assert processor.processed() == {"": 0, "queue_full": 0, "already_shutdown": 1}
    assert processor.stats().dropped_outage == 1


@pytest.mark.skipif(
    find_spec("opentelemetry.sdk._shared_internal") is None
    or find_spec("opentelemetry.sdk._shared_internal._processor_metrics") is None,
    reason="this SDK has no metrics of its processors",
)
def test_it_is_what_the_sdk_says(run) -> None:
    """The same program, with its processor and with ours; without a full queue, of which ours keeps the batch under way."""
    assert told(run, "ours", 5, **ENABLED) == told(run, "sdk", 5, **ENABLED)


def test_off_unless_it_is_asked_for(run) -> None:
    """As with the SDK."""
    assert told(run, "ours", 5) == [[], []]
