"""The instruments of requests, through the API alone; without a MeterProvider, nothing is measured.

https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from inspect import signature
from typing import Any, Literal

from obs_core.integration import NO_FORMER_NAMES, FormerNames, call_contained
from opentelemetry import metrics
from opentelemetry.metrics import Histogram, Meter, MeterProvider, UpDownCounter

Side = Literal["server", "client"]
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
#: Powers of ten up to 100 MB: the conventions advise none, and the SDK's default ends at 10,000.
BUCKETS_BYTES = (0, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)


@dataclass(frozen=True, slots=True)
class Former:
    """The instruments of the former conventions, in milliseconds and bytes; clients had no sizes.

    Attributes:
        names: The former names of a measurement's attributes.
    """

    names: FormerNames
    duration_ms: Histogram
    request_size: Histogram | None = None
    response_size: Histogram | None = None


@dataclass(frozen=True, slots=True)
class Instruments:
    """What is measured of requests; None: other code measures it."""

    duration_s: Histogram | None
    active: UpDownCounter | None
    request_size: Histogram
    response_size: Histogram
    former: Former | None


class Metrics:
    """The instruments of clients or servers, from the MeterProvider in force.

    Args:
        side: ``"server"`` or ``"client"``.
        provider: Default: the global provider, also if set later: every 100th request looks again.
        former_names: The former names of attributes, if the former metrics are asked for too.
    """

    __slots__ = ("_beside_native", "_former", "_given", "_made", "_requests", "_side")

    def __init__(
        self,
        side: Side,
        provider: MeterProvider | None,
        former_names: FormerNames = NO_FORMER_NAMES,
    ) -> None:
        self._side = side
        self._given = provider
        self._former = former_names
        self._requests = 0
        self._made: Instruments | None = None
        self._beside_native: Instruments | None = None

    def instruments(self, *, beside_native: bool = False) -> Instruments | None:
        """Return the instruments; None without a MeterProvider. Never raises.

        Args:
            beside_native: FastAPI measures the duration and the requests in progress.
        """
        if self._made is None:
            # looking up the provider costs more than everything else here
            if self._requests % _ASKED_EVERY == 0:
                call_contained("making instruments", self._make)
            self._requests += 1
        return self._beside_native if beside_native else self._made

    def _make(self) -> None:
        provider = self._given or metrics.get_meter_provider()
        if type(provider).__module__.startswith("opentelemetry.metrics"):
            return  # the API's no-op providers
        made = self._stable(provider.get_meter("obs_http", version("obs-http")))
        self._beside_native = replace(made, duration_s=None, active=None)
        self._made = made

    def _stable(self, meter: Meter) -> Instruments:
        side, create = self._side, _creating(meter.create_histogram)
        of, bodies = f"HTTP {side} requests", f"Size of HTTP {side}"
        return Instruments(
            create(f"http.{side}.request.duration", "s", f"Duration of {of}.", BUCKETS_S),
            meter.create_up_down_counter(
                f"http.{side}.active_requests", "{request}", f"Number of active {of}."
            ),
            create(
                f"http.{side}.request.body.size", "By", f"{bodies} request bodies.", BUCKETS_BYTES
            ),
            create(
                f"http.{side}.response.body.size", "By", f"{bodies} response bodies.", BUCKETS_BYTES
            ),
            self._former_of(create) if self._former else None,
        )  # fmt: skip

    def _former_of(self, create: Callable[..., Histogram]) -> Former:
        names = self._former
        if self._side == "client":
            about = "Measures the duration of the outbound HTTP request."
            return Former(names, create("http.client.duration", "ms", about))
        about, size = (
            "Measures the duration of inbound HTTP requests.",
            "Measures the size of HTTP",
        )
        return Former(
            names,
            create("http.server.duration", "ms", about),
            create("http.server.request.size", "By", f"{size} request messages."),
            create("http.server.response.size", "By", f"{size} response messages."),
        )  # fmt: skip


def _creating(create: Callable[..., Histogram]) -> Callable[..., Histogram]:
    """Return `create` of a meter with `buckets` as its fourth argument."""
    # advisory buckets need opentelemetry-api 1.30; before, a view sets the buckets
    takes_advice = "explicit_bucket_boundaries_advisory" in signature(create).parameters

    def histogram(
        name: str, unit: str, about: str, buckets: tuple[float, ...] = ()
    ) -> Histogram:
        advice: dict[str, Any] = {}
        if buckets and takes_advice:
            advice = {"explicit_bucket_boundaries_advisory": buckets}
        return create(name, unit, about, **advice)

    return histogram
