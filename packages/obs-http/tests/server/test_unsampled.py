"""Requests that are not sampled: decided once, before FastAPI's own tracing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from obs_core.testing import SpanRecorder
from obs_http import RequestTracingMiddleware, instrument_fastapi
from opentelemetry import metrics, propagate, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind

from .test_ways_in import EVENTS
from .ways_in import APPLICATIONS, HAS_NATIVE, VALUES, WAYS, Client, Headers

UNSAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
Sample = Callable[[float], None]


@pytest.fixture
def sample(spans: SpanRecorder) -> Sample:
    """Sample a share of the traces that this process begins."""

    def sample(rate: float) -> None:
        provider: Any = trace.get_tracer_provider()
        provider.sampler.inner = ParentBased(TraceIdRatioBased(rate))

    return sample


def application(answer: Callable[[], Any]) -> FastAPI:
    app = FastAPI()

    @app.get("/orders/{number}")
    async def order(number: int) -> Any:
        return answer()

    instrument_fastapi(app)
    return app


def ask(app: FastAPI, times: int = 1, headers: Headers = ()) -> list[Any]:
    async def run() -> list[Any]:
        clients = [Client() for _ in range(times)]
        for client in clients:
            assert await client.ask(app, "/orders/7", headers=headers) is None
        return [client.answers for client in clients]

    return asyncio.run(run())


@pytest.mark.promise("HTTP-16")
def test_decides_once_whether_a_request_is_sampled(
    sample: Sample, spans: SpanRecorder
) -> None:
    """As many traces as the rate asks for, within three sigma; each has all spans of a single request."""
    sample(0.5)
    ask(application(lambda: 1), times=400)
    servers = [span for span in spans if span.kind is SpanKind.SERVER]
    assert 170 <= len(servers) <= 230
    assert len({span.context.trace_id for span in servers}) == len(servers)
    by_trace: dict[int, int] = {}
    for span in spans:
        by_trace[span.context.trace_id] = by_trace.get(span.context.trace_id, 0) + 1
    assert len(set(by_trace.values())) == 1
    assert len(by_trace) == len(servers)


@pytest.mark.promise("HTTP-16")
@pytest.mark.parametrize("headers", [(), ((b"traceparent", UNSAMPLED.encode()),)])
def test_what_a_request_calls_is_not_sampled_either(
    sample: Sample, spans: SpanRecorder, headers: Headers
) -> None:
    """An outgoing request carries flag 00, in the caller's trace if there is one, and the response has the correlation id."""
    sample(0.0 if not headers else 1.0)
    carriers: list[dict[str, str]] = []

    def answer() -> None:
        with trace.get_tracer("t").start_as_current_span("inner"):
            carriers.append({})
            propagate.inject(carriers[-1])

    ((started, _),) = ask(application(answer), headers=headers)
    (carrier,) = carriers
    trace_id, flags = (carrier["traceparent"].split("-")[part] for part in (1, 3))
    assert (flags in ("00", "02"), list(spans)) == (True, [])
    assert int(trace_id, 16)
    if headers:
        assert trace_id == UNSAMPLED.split("-")[1]
    correlation = dict(started["headers"])[b"x-correlation-id"].decode()
    assert carrier["baggage"] == f"correlation_id={correlation}"


class Renaming:
    """A middleware that changes the list of headers in place."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["headers"].append((b"x-correlation-id", b"named-outside"))
        await self.app(scope, receive, send)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_headers_of_a_middleware_further_out_count(rate: float, sample: Sample) -> None:
    """What a middleware adds between the application's entry and ours is read."""
    sample(rate)
    app = FastAPI()
    app.add_middleware(RequestTracingMiddleware)
    app.add_middleware(Renaming)
    app.add_api_route("/orders/{number}", lambda number: number)
    ask(app)
    ((started, _),) = ask(app)
    assert dict(started["headers"])[b"x-correlation-id"] == b"named-outside"


@pytest.mark.skipif(not HAS_NATIVE, reason="this FastAPI measures nothing")
def test_fastapi_measures_unsampled_requests(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a MeterProvider, each request is measured, sampled or not."""
    sample(0.0)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", provider)
    assert metrics.get_meter_provider() is provider
    ask(application(lambda: 1), times=3)
    data = reader.get_metrics_data()
    assert data is not None
    (count,) = [
        point.count
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "http.server.request.duration"
        for point in metric.data.data_points
    ]
    assert count == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("what", EVENTS)
@pytest.mark.parametrize("way", [way for way in WAYS if "below" not in way])
@pytest.mark.parametrize(
    "application", ["FastAPI", "FastAPI in FastAPI", "BaseHTTPMiddleware in FastAPI"]
)
def test_the_application_answers_as_without_tracing(
    way: str, application: str, what: str, sample: Sample, spans: SpanRecorder
) -> None:
    """Not sampled, an application answers and raises what it does untraced, and no span is made, whatever happens."""
    sample(0.0)
    event, (build, prefix) = EVENTS[what], APPLICATIONS[application]

    async def run(app: Any) -> tuple[type, list[Any]]:
        options = {**event.client, "messages": [*event.client.get("messages", ())]}
        client = Client(**options)
        raised = await client.ask(app, VALUES[prefix] + event.path[1], event.kind)
        seen = [each["status"] for each in client.answers if "status" in each]
        return type(raised), seen

    untraced = asyncio.run(run(build(False)))

    async def traced() -> tuple[type, list[Any]]:
        with WAYS[way](build(True)) as app:
            return await run(app)

    assert asyncio.run(traced()) == untraced
    assert list(spans) == []
