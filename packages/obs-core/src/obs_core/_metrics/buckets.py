"""Buckets that instruments advise, where the SDK (1.28) does not take the advice itself: by a view."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    ExplicitBucketHistogramAggregation,
    View,
)

_ADVICE = "explicit_bucket_boundaries_advisory"
SDK_TAKES_ADVICE = _ADVICE in signature(sdk.Meter.create_histogram).parameters
_advised: dict[str, Sequence[float]] = {}


def advice(name: str, boundaries: Sequence[float] | None) -> dict[str, Any]:
    """Return the options for the SDK's histogram `name` with these `boundaries`."""
    if boundaries is None:
        return {}
    if SDK_TAKES_ADVICE:
        return {_ADVICE: boundaries}
    _advised[name] = boundaries
    return {}


class _Advised(Aggregation):
    """The histogram with the buckets that its instrument advises."""

    def _create_aggregation(self, instrument: Any, *args: Any, **options: Any) -> Any:
        boundaries = _advised.get(instrument.name)
        given: Any = {} if boundaries is None else {"boundaries": boundaries}
        chosen: Any = ExplicitBucketHistogramAggregation(**given)
        return chosen._create_aggregation(instrument, *args, **options)


class _NoExemplars:
    """A reservoir of exemplars that stays empty."""

    def __init__(self, **_: Any) -> None: ...

    def offer(self, *_: Any) -> None:
        """Keep nothing."""

    def collect(self, *_: Any) -> list[Any]:
        """Return nothing."""
        return []


def views() -> list[View]:
    """Return the views that this version of the SDK needs.

    The exporter of 1.28 fails on an exemplar without a span, which observable instruments have there: they keep none.
    """
    if SDK_TAKES_ADVICE:
        return []
    options: Any = {"exemplar_reservoir_factory": lambda _: _NoExemplars}
    asked = sdk.ObservableCounter, sdk.ObservableUpDownCounter, sdk.ObservableGauge
    found = [View(instrument_type=kind, **options) for kind in asked]
    return [View(instrument_type=sdk.Histogram, aggregation=_Advised()), *found]
