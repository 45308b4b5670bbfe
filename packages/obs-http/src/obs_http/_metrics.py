"""The duration of requests as a metric, through the API alone; where no MeterProvider is set, nothing is measured.

https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
"""

from __future__ import annotations

from importlib.metadata import version
from inspect import signature
from time import perf_counter
from typing import Any

from obs_core.integration import call_contained
from opentelemetry import metrics
from opentelemetry.metrics import Histogram, MeterProvider
from opentelemetry.util.types import AttributeValue

SERVER = ("http.server.request.duration", "Duration of HTTP server requests.")
CLIENT = ("http.client.request.duration", "Duration of HTTP client requests.")
_ASKED_EVERY = 100
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class Stopwatch:
    """One request being measured.

    Attributes:
        attributes: What the measurement is recorded with; of few values each, and the same ones as on the span.
    """

    __slots__ = ("_elapsed_s", "_histogram", "_started", "attributes")

    def __init__(self, histogram: Histogram, attributes: dict[str, AttributeValue]) -> None:
        self._histogram = histogram
        self._started = perf_counter()
        self._elapsed_s: float | None = None
        self.attributes = attributes

    def hold(self) -> None:
        """Stop counting; what to record is not all known yet."""
        self._elapsed_s = perf_counter() - self._started

    def stop(self) -> None:
        """Record the time from the start to now, or to `hold`, in seconds. Never raises."""
        if self._elapsed_s is None:
            self.hold()
        call_contained(
            "measuring a request", self._histogram.record, self._elapsed_s or 0.0, self.attributes
        )


class Durations:
    """The histogram of one side, from the MeterProvider in force.

    Args:
        name: The metric.
        description: What it says.
        provider: Default: the global one, also when it is only set later: until there is one, every 100th request asks.
    """

    __slots__ = ("_description", "_given", "_histogram", "_name", "_requests")

    def __init__(self, name: str, description: str, provider: MeterProvider | None) -> None:
        self._name = name
        self._description = description
        self._given = provider
        self._requests = 0
        self._histogram: Histogram | None = None

    def histogram(self) -> Histogram | None:
        """Return the histogram; None where nobody has set a MeterProvider. Never raises."""
        if self._histogram is None:
            if (
                self._requests % _ASKED_EVERY == 0
            ):  # asking for a provider costs more than all the rest
                self._histogram = call_contained("making a histogram", self._make)
            self._requests += 1
        return self._histogram

    def _make(self) -> Histogram | None:
        provider = self._given or metrics.get_meter_provider()
        if type(provider).__module__.startswith("opentelemetry.metrics"):
            return None  # the API's own, which do nothing
        create = provider.get_meter("obs_http", version("obs-http")).create_histogram
        # advisory buckets came with opentelemetry-api 1.30; before it a view sets them
        advice: dict[str, Any] = {"explicit_bucket_boundaries_advisory": BUCKETS_S}
        known = signature(create).parameters
        return create(
            self._name,
            "s",
            self._description,
            **{key: value for key, value in advice.items() if key in known},
        )
