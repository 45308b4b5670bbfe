"""The metrics of the SDK's BatchSpanProcessor, for our processor, if ``OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED`` is set.

The exporters have separate metrics. Observed, not counted where spans end: a counter of the SDK takes a lock, which a
signal handler may find taken by the thread that the handler interrupts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

if TYPE_CHECKING:
    from obs_core._export.processor import BatchExportProcessor

_VARIABLE = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"
_TYPE = "batching_span_processor"
_NAME = "otel.sdk.processor.span"

Attributes = dict[str, str]
Observe = Callable[["BatchExportProcessor", Attributes], Iterator[Observation]]

_numbers = count()
_has_instruments = False
_observed: WeakKeyDictionary[BatchExportProcessor, Attributes] = WeakKeyDictionary()


def is_asked_for() -> bool:
    """Whether the environment asks for the SDK's internal metrics."""
    return os.environ.get(_VARIABLE, "").strip().lower() == "true"


def observe(processor: BatchExportProcessor) -> None:
    """Report the metrics of `processor` while the processor lives."""
    global _has_instruments
    name = f"{_TYPE}/obs-core-{next(_numbers)}"
    _observed[processor] = {"otel.component.type": _TYPE, "otel.component.name": name}
    if not _has_instruments:
        _has_instruments = True
        _create_instruments()


def _create_instruments() -> None:
    meter = get_meter("obs_core")
    meter.create_observable_counter(
        f"{_NAME}.processed",
        [_callback(_processed)],
        "{span}",
        "The number of spans for which the processing has finished, either successful or failed.",
    )
    meter.create_observable_up_down_counter(
        f"{_NAME}.queue.size",
        [_callback(_queue_size)],
        "{span}",
        "The number of spans in the queue of a given instance of an SDK span processor.",
    )
    meter.create_observable_up_down_counter(
        f"{_NAME}.queue.capacity",
        [_callback(_queue_capacity)],
        "{span}",
        "The maximum number of spans the queue of a given instance of an SDK span processor can hold.",
    )


def _callback(observe: Observe) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [
        found
        for processor, attributes in list(_observed.items())
        for found in observe(processor, attributes)
    ]


def _processed(
    processor: BatchExportProcessor, attributes: Attributes
) -> Iterator[Observation]:
    for error, spans in processor.processed().items():
        found = {**attributes, "error.type": error} if error else attributes
        if spans:
            yield Observation(spans, found)


def _queue_size(
    processor: BatchExportProcessor, attributes: Attributes
) -> Iterator[Observation]:
    yield Observation(processor.queue_size, attributes)


def _queue_capacity(
    processor: BatchExportProcessor, attributes: Attributes
) -> Iterator[Observation]:
    yield Observation(processor.queue_capacity, attributes)
