"""A real MeterProvider, and the points that it has measured."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

Labels = dict[str, Any]


class Meter:
    """A MeterProvider of the test's own."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def _series(self, name: str) -> list[tuple[str, Any, Labels]]:
        data = self._reader.get_metrics_data()
        return [
            (scope.scope.name, point, dict(point.attributes or {}))
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def measured(self, name: str) -> list[tuple[str, int, Labels]]:
        """Return scope, count and attributes of each of a histogram's series."""
        return [
            (scope, point.count, given) for scope, point, given in self._series(name)
        ]

    def points(self, name: str) -> list[tuple[str, Any, Labels]]:
        """Return scope, sum or value, and attributes of each of the metric's series."""
        return [
            (scope, point.sum if hasattr(point, "sum") else point.value, given)
            for scope, point, given in self._series(name)
        ]

    def sums(self, name: str) -> list[Any]:
        """Return the sum or value of each of the metric's series."""
        return [value for _, value, _ in self.points(name)]
