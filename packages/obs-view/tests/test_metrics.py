"""Metrics: received as spans are, the last point of each stream kept, found, and led from to a trace."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import grpc
import httpx
import pytest
from obs_view import Receiver

from .test_grpc import export
from .test_web import attribute, get

pytestmark = pytest.mark.promise("VIEW-13")
SERVICE = """
import sys
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
if sys.argv[1] == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
else:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
resource = Resource.create({"service.name": "orders", "service.instance.id": "one"})
provider = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource)
meter = provider.get_meter("shop")
with TracerProvider().get_tracer("shop").start_as_current_span("POST /orders") as span:
    print(f"{span.get_span_context().trace_id:032x}")
    meter.create_counter("orders.placed", "{order}", "Orders.").add(3, {"channel": "web"})
    meter.create_histogram("wait", "s").record(0.3)
meter.create_up_down_counter("open").add(-1)
meter.create_observable_gauge("level", [lambda _: [metrics.Observation(0.5)]])
provider.shutdown()
"""


def point(value: object = "1", **fields: object) -> dict[str, object]:
    """A point of a counter or gauge in OTLP-JSON."""
    return {"timeUnixNano": str(10**18), "asInt": value, **fields}


def counter(name: str, *points: object, **fields: object) -> dict[str, object]:
    """A counter in OTLP-JSON."""
    held = {"dataPoints": points, "isMonotonic": True, "aggregationTemporality": 2}
    return {"name": name, "unit": "{order}", "sum": held, **fields}


def send_metrics(receiver: Receiver, *metrics: object, service: str = "shop") -> Any:
    """Post metrics of `service`; return the answer."""
    resource = {"attributes": [attribute("service.name", stringValue=service)]}
    group = {"resource": resource, "scopeMetrics": [{"metrics": metrics}]}
    answer = httpx.post(
        receiver.http_url + "/v1/metrics",
        json={"resourceMetrics": [group]},
        trust_env=False,
    )
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.skipif(
    version("opentelemetry-sdk") == "1.28.0",
    reason="its exporter refuses a measurement outside of any trace",
)
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_metrics_of_a_real_service_are_listed(
    receiver: Receiver, protocol: str
) -> None:
    """Of every kind that OpenTelemetry's SDK has, with unit, value, attributes, and the trace of an exemplar."""
    url = receiver.grpc_url if protocol == "grpc" else receiver.http_url
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SERVICE, protocol],
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url},
        check=True,
        timeout=60,
        stdout=subprocess.PIPE,
        text=True,
    )
    level, up_down, placed, wait = get(receiver, "/api/metrics")["metrics"]
    assert (level["name"], level["kind"], level["value"]) == ("level", "gauge", 0.5)
    assert (up_down["kind"], up_down["value"]) == ("up-down counter", -1)
    assert placed["exemplars"][0].pop("span")
    assert placed["exemplars"][0].pop("time") <= placed["time"]
    assert {**placed, "time": 0} == {
        "name": "orders.placed",
        "unit": "{order}",
        "description": "Orders.",
        "kind": "counter",
        "service": "orders",
        "instance": "one",
        "scope": "shop",
        "time": 0,
        "attributes": {"channel": "web"},
        "exemplars": [{"trace": done.stdout.strip(), "value": 3}],
        "value": 3,
    }
    assert (wait["kind"], wait["count"], wait["sum"]) == ("histogram", 1, 0.3)
    assert (wait["min"], wait["max"]) == (0.3, 0.3)
    assert len(wait["counts"]) == len(wait["bounds"]) + 1
    assert [place["trace"] for place in wait["exemplars"]] == [done.stdout.strip()]


def test_the_last_point_of_a_stream_is_kept(receiver: Receiver) -> None:
    """By resource, name and attributes, in whatever order these come; a stream that ends is gone."""
    one, two = attribute("a", intValue="1"), attribute("b", intValue="2")
    send_metrics(receiver, counter("orders", point("1", attributes=[one, two])))
    sequence = get(receiver, "/api/metrics")["sequence"]
    send_metrics(receiver, counter("orders", point("5", attributes=[two, one])))
    send_metrics(receiver, counter("orders", point("7")))
    send_metrics(receiver, counter("orders", point("9")), service="worker")
    found = get(receiver, f"/api/metrics?after={sequence}")
    assert [metric["value"] for metric in found["metrics"]] == [7, 5, 9]
    assert (found["count"], found["services"]) == (3, ["shop", "worker"])
    send_metrics(receiver, counter("orders", point("7", flags=1)))
    assert get(receiver, "/api/metrics")["count"] == 2


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["open", "orders", "orders"]),
        ("q=ORD", ["orders", "orders"]),
        ("q=name=open", ["open"]),
        ("q=channel=web", ["orders"]),
        ("q=-web", ["open", "orders"]),
        ("q=service=worker", ["orders"]),
        ("service=worker", ["orders"]),
        ("q=service.name=worker", ["orders"]),
        ("offset=2", ["orders"]),
    ],
)
def test_search(receiver: Receiver, query: str, expected: list[str]) -> None:
    """By word, name, service and attribute; in the order of names."""
    web = [attribute("channel", stringValue="web")]
    send_metrics(
        receiver, counter("orders", point(attributes=web)), counter("open", point())
    )
    send_metrics(receiver, counter("orders", point()), service="worker")
    found = get(receiver, "/api/metrics?" + query)
    assert [metric["name"] for metric in found["metrics"]] == expected
    assert found["total"] == (3 if query == "offset=2" else len(expected))


def test_what_is_not_understood_is_said(receiver: Receiver) -> None:
    """400, with what would be right."""
    assert "no offset" in get(receiver, "/api/metrics?offset=-2", 400)["error"]
    assert "not understood" in get(receiver, "/api/metrics?q=a=", 400)["error"]


@pytest.mark.promise("VIEW-11")
def test_a_bad_value_costs_its_metric_alone(receiver: Receiver) -> None:
    """The metrics beside it are kept, the answer counts the bad one."""
    bad = counter("b", point(2**70))
    answer = send_metrics(
        receiver, counter("a", point()), bad, None, counter("c", point())
    )
    assert answer["partialSuccess"]["rejectedDataPoints"] == "1"
    found = get(receiver, "/api/metrics")["metrics"]
    assert [metric["name"] for metric in found] == ["a", "c"]


def test_odd_points_are_shown(receiver: Receiver) -> None:
    """No number, no finite number, an integer beyond JavaScript's, kinds that Python's SDK does not make, nothing at all."""
    exponential = {"dataPoints": [{"count": "2", "sum": "NaN", "scale": 1}]}
    summary = {"dataPoints": [{"count": "3", "sum": 6.5}]}
    histogram = {
        "dataPoints": [{"count": "1", "explicitBounds": ["Infinity"]}],
        "aggregationTemporality": 1,
    }
    send_metrics(
        receiver,
        {"name": "a", "gauge": {"dataPoints": [{"asDouble": "NaN"}, {}]}},
        {"name": "b", "exponentialHistogram": exponential},
        {"name": "c", "summary": summary},
        {"name": "d", "histogram": histogram},
        {"name": "e"},
        counter("f", point(str(2**62))),
    )
    a, b, c, d, f = get(receiver, "/api/metrics")["metrics"]
    assert a["value"] is None
    assert (b["kind"], b["sum"], b["count"]) == ("exponential histogram", "nan", 2)
    assert (c["kind"], c["sum"], c["count"]) == ("summary", 6.5, 3)
    assert (d["kind"], d["bounds"]) == ("histogram, delta", ["inf"])
    assert f["value"] == str(2**62)


def test_metrics_are_bounded_and_forgotten(receiver: Receiver) -> None:
    """By the number of streams, those without news for longest first; Clear forgets them too."""
    receiver.store.metrics.max_streams = 3
    for name in ("m0", "m1", "m2", "m0", "m3"):
        send_metrics(receiver, counter(name, point()))
    names = [metric["name"] for metric in get(receiver, "/api/metrics")["metrics"]]
    assert names == ["m0", "m2", "m3"]
    receiver.store.metrics.max_age_s = 0
    assert get(receiver, "/api/metrics")["metrics"] == []
    receiver.store.metrics.max_age_s = 60
    send_metrics(receiver, counter("m4", point()))
    httpx.delete(receiver.http_url + "/api/traces", trust_env=False)
    assert receiver.store.metrics.count == 0


def test_exemplars_have_the_latest_traces(receiver: Receiver) -> None:
    """Five at most, the latest first, those without a trace left out; also those of earlier points, which come once."""

    def exemplar(moment: int, **ids: str) -> dict[str, str]:
        return {"timeUnixNano": str(moment), "asInt": "1", **ids}

    def named(moment: int) -> dict[str, str]:
        return exemplar(moment, traceId=f"{moment:032x}", spanId=f"{moment:016x}")

    early = [exemplar(99), *map(named, range(1, 5))]
    send_metrics(receiver, counter("m", point(exemplars=early)))
    send_metrics(receiver, counter("m", point(exemplars=[named(6), named(5)])))
    send_metrics(receiver, counter("m", point()))
    (found,) = get(receiver, "/api/metrics")["metrics"]
    assert [place["time"] for place in found["exemplars"]] == [6, 5, 4, 3, 2]
    assert found["exemplars"][0]["span"] == f"{6:016x}"


def test_grpc_answers_bad_metrics_as_bad_spans(receiver: Receiver) -> None:
    """Nothing to say is an empty response."""
    assert export(receiver, b"", ("metrics", "Metrics")) == b""
    with pytest.raises(grpc.RpcError) as caught:
        export(receiver, b"x", ("metrics", "Metrics"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
