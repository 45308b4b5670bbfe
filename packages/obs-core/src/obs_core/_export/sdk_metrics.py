"""The metrics of the SDK's batch processors, for our export of spans and of log records.

On with ``metrics=True``, or ``OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED``. The exporters have separate metrics. Observed, not
counted where spans end: a counter of the SDK takes a lock, which a signal handler may find taken by the thread that the
handler interrupts.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

from obs_core._export.signals import LOGS, TRACES, Signal

if TYPE_CHECKING:
    from obs_core._config.settings import Settings
    from obs_core._export.signal_export import SignalExport

_VARIABLE = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"
#: The component's type, the noun of the metrics' descriptions, and their unit, as the conventions have them.
_WORDS = {
    TRACES.name: ("batching_span_processor", "spans", "{span}"),
    LOGS.name: ("batching_log_processor", "log records", "{log_record}"),
}

Attributes = dict[str, str]
Observe = Callable[["SignalExport", Attributes], Iterator[Observation]]

_numbers: Counter[str] = Counter()
_observed: WeakKeyDictionary[SignalExport, Attributes] = WeakKeyDictionary()


def are_asked_for(settings: Settings) -> bool:
    """Whether the settings export metrics, or the environment asks for the SDK's internal ones."""
    is_on = os.environ.get(_VARIABLE, "").strip().lower() == "true"
    return settings.metrics or is_on


def observe(export: SignalExport) -> None:
    """Report the metrics of `export`, of spans or of log records, while it lives."""
    signal = export.signal
    component = _WORDS[signal.name][0]
    number = _numbers[signal.name]
    _numbers[signal.name] += 1
    _observed[export] = {
        "otel.component.type": component,
        "otel.component.name": f"{component}/obs-core-{number}",
    }
    if number == 0:
        _create_instruments(signal)


def _create_instruments(signal: Signal) -> None:
    meter, name = get_meter("obs_core"), f"otel.sdk.processor.{signal.item}"
    _, noun, unit = _WORDS[signal.name]
    of_queue = f"queue of a given instance of an SDK {signal.item} processor"
    meter.create_observable_counter(
        f"{name}.processed",
        [_callback(signal, _processed)],
        unit,
        f"The number of {noun} for which the processing has finished, either successful or failed.",
    )
    meter.create_observable_up_down_counter(
        f"{name}.queue.size",
        [_callback(signal, _queue_size)],
        unit,
        f"The number of {noun} in the {of_queue}.",
    )
    meter.create_observable_up_down_counter(
        f"{name}.queue.capacity",
        [_callback(signal, _queue_capacity)],
        unit,
        f"The maximum number of {noun} the {of_queue} can hold.",
    )


def _callback(
    signal: Signal, observe: Observe
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [
        found
        for export, attributes in list(_observed.items())
        if export.signal is signal
        for found in observe(export, attributes)
    ]


def _processed(export: SignalExport, attributes: Attributes) -> Iterator[Observation]:
    for error, items in export.processed().items():
        found = {**attributes, "error.type": error} if error else attributes
        if items:
            yield Observation(items, found)


def _queue_size(export: SignalExport, attributes: Attributes) -> Iterator[Observation]:
    yield Observation(export.queue_size, attributes)


def _queue_capacity(
    export: SignalExport, attributes: Attributes
) -> Iterator[Observation]:
    yield Observation(export.queue_capacity, attributes)
