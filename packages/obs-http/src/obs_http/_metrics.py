"""The duration of requests as a metric, through the API alone; without a MeterProvider, nothing is measured.

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
BUCKETS_S = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
)


class Stopwatch:
    """Measures the duration of a request.

    Attributes:
        attributes: The measurement's attributes: of low cardinality, with the same values as on the span.
    """

    __slots__ = ("_elapsed_s", "_histogram", "_started", "attributes")

    def __init__(
        self, histogram: Histogram, attributes: dict[str, AttributeValue]
    ) -> None:
        self._histogram = histogram
        self._started = perf_counter()
        self._elapsed_s: float | None = None
        self.attributes = attributes

    def hold(self) -> None:
        """Stop the time; attributes may still be added."""
        self._elapsed_s = perf_counter() - self._started

    def stop(self) -> None:
        """Record the time from the start to now, or to `hold`, in seconds. Never raises."""
        if self._elapsed_s is None:
            self.hold()
        call_contained(
            "measuring a request",
            self._histogram.record,
            self._elapsed_s or 0.0,
            self.attributes,
        )


class Durations:
    """The duration histogram of clients or servers, from the MeterProvider in force.

    Args:
        name: The metric's name.
        description: The metric's description.
        provider: Default: the global provider, also if set later: every 100th request looks again.
    """

    __slots__ = ("_description", "_given", "_histogram", "_name", "_requests")

    def __init__(
        self, name: str, description: str, provider: MeterProvider | None
    ) -> None:
        self._name = name
        self._description = description
        self._given = provider
        self._requests = 0
        self._histogram: Histogram | None = None

    def histogram(self) -> Histogram | None:
        """Return the histogram; None without a MeterProvider. Never raises."""
        if self._histogram is None:
            # looking up the provider costs more than everything else here
            if self._requests % _ASKED_EVERY == 0:
                self._histogram = call_contained("making a histogram", self._make)
            self._requests += 1
        return self._histogram

    def _make(self) -> Histogram | None:
        provider = self._given or metrics.get_meter_provider()
        if type(provider).__module__.startswith("opentelemetry.metrics"):
            return None  # the API's no-op providers
        create = provider.get_meter("obs_http", version("obs-http")).create_histogram
        # advisory buckets need opentelemetry-api 1.30; before, a view sets the buckets
        advice: dict[str, Any] = {"explicit_bucket_boundaries_advisory": BUCKETS_S}
        known = signature(create).parameters
        return create(
            self._name,
            "s",
            self._description,
            **{key: value for key, value in advice.items() if key in known},
        )
