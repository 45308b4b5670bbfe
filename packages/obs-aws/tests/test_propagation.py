"""The propagators of AWS calls: W3C, X-Ray on request, and one that raises."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from obs_aws import instrument_boto3
from obs_core.testing import SpanRecorder
from opentelemetry import propagate
from opentelemetry.propagators.aws import AwsXRayPropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .conftest import MakeClient, aio_client
from .test_messaging import receive, text_attributes


@pytest.mark.promise("AWS-08", "AWS-03")
def test_a_raising_propagator_is_contained(
    make_client: MakeClient, queue_url: str, traced: SpanRecorder, caplog: Any
) -> None:
    """The message is sent and received all the same."""

    class Broken(TextMapPropagator):
        fields = frozenset({"broken"})

        def inject(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("inject")

        def extract(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("extract")

    sqs = make_client("sqs")
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(Broken())
    try:
        sqs.send_message(QueueUrl=queue_url, MessageBody="b")
        assert len(receive(sqs, queue_url)) == 1
    finally:
        propagate.set_global_textmap(before)
    assert "propagator failed" in caplog.text


@pytest.mark.promise("AWS-10")
def test_xray_on_request(
    make_client: MakeClient, queue_url: str, name: str, spans: SpanRecorder
) -> None:
    """`propagator="xray"`: a system attribute that does not count among the ten, a header, and no W3C attribute."""
    headers: list[Any] = []
    handle = instrument_boto3(propagator="xray")
    sqs = make_client("sqs")
    sqs.meta.events.register(
        "before-send",
        lambda request, **_: headers.append(request.headers.get("X-Amzn-Trace-Id")),
    )
    sqs.send_message(
        QueueUrl=queue_url, MessageBody="b", MessageAttributes=text_attributes(10)
    )
    [message] = receive(sqs, queue_url, MessageAttributeNames=["All"])
    handle.uninstrument()
    span = spans.one(f"send {name}")
    trace_id = f"{span.context.trace_id:032x}"
    header = f"Root=1-{trace_id[:8]}-{trace_id[8:]};Parent={span.context.span_id:016x};Sampled=1"
    assert message["Attributes"]["AWSTraceHeader"] == header
    assert message["MessageAttributes"].keys() == text_attributes(10).keys()
    assert headers[0] in (header, header.encode())
    assert [link.context.span_id for link in spans.one(f"receive {name}").links] == [
        span.context.span_id
    ]


@pytest.mark.promise("AWS-10")
def test_w3c_by_default(
    make_client: MakeClient, queue_url: str, traced: SpanRecorder
) -> None:
    """Without the option no X-Ray header is on a request."""
    headers: list[Any] = []
    sqs = make_client("sqs")
    sqs.meta.events.register(
        "before-send", lambda request, **_: headers.append(dict(request.headers))
    )
    sqs.send_message(QueueUrl=queue_url, MessageBody="b")
    assert "x-amzn-trace-id" not in json.dumps(headers, default=str).lower()


class Own(TextMapPropagator):
    """Headers that a test knows."""

    fields = frozenset({"x-own"})

    def __init__(self, **headers: Any) -> None:
        self.headers = headers

    def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
        if not self.headers:
            raise RuntimeError("inject")
        carrier.update(self.headers)

    def extract(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


def seen_headers(client: Any) -> list[dict[str, str]]:
    """Return the list in which each request's headers will be, as they are sent, by lower-case name."""
    headers: list[dict[str, str]] = []

    def look(request: Any, **_: Any) -> None:
        pairs = request.headers.items()
        headers.append(
            {key.lower(): v.decode() if isinstance(v, bytes) else v for key, v in pairs}
        )

    client.meta.events.register_last("before-send", look)
    return headers


@pytest.mark.promise("AWS-13")
def test_a_propagator_of_ones_own_writes_each_request_s_headers(
    make_client: MakeClient, queue_url: str, name: str, spans: SpanRecorder
) -> None:
    """As contrib's option: an object, for the headers, after the signature; messages carry the global propagator's."""
    handle = instrument_boto3(propagator=TraceContextTextMapPropagator())
    sqs = make_client("sqs")
    sqs.list_queues()
    headers = seen_headers(sqs)
    sqs.send_message(QueueUrl=queue_url, MessageBody="b")
    [message] = receive(sqs, queue_url)
    handle.uninstrument()
    call = spans.one(f"send {name}").context
    assert headers[0]["traceparent"].split("-")[1:3] == [
        f"{call.trace_id:032x}",
        f"{call.span_id:016x}",
    ]
    assert "traceparent" not in headers[0]["authorization"]
    assert "traceparent" in message["MessageAttributes"]
    sqs.send_message(QueueUrl=queue_url, MessageBody="b")
    assert "traceparent" not in headers[-1]


@pytest.mark.promise("AWS-13")
def test_contribs_own_default_as_an_object(
    make_client: MakeClient, queue_url: str, spans: SpanRecorder
) -> None:
    """X-Ray's header on requests, and W3C's attributes on messages, whoever reads them."""
    handle = instrument_boto3(propagator=AwsXRayPropagator())
    sqs = make_client("sqs")
    sqs.list_queues()
    headers = seen_headers(sqs)
    sqs.send_message(QueueUrl=queue_url, MessageBody="b")
    handle.uninstrument()
    assert headers[0]["x-amzn-trace-id"].startswith("Root=1-")


@pytest.mark.promise("AWS-13")
def test_aiobotocore_too(aws_url: str, spans: SpanRecorder) -> None:
    """Asynchronous clients send the same headers."""
    handle = instrument_boto3(propagator=Own(**{"x-own": "1"}))

    async def main() -> list[dict[str, str]]:
        async with aio_client("sqs", aws_url) as sqs:
            await sqs.list_queues()
            headers = seen_headers(sqs)
            await sqs.list_queues()
            return headers

    (sent,) = asyncio.run(main())
    handle.uninstrument()
    assert sent["x-own"] == "1"


@pytest.mark.promise("AWS-13")
@pytest.mark.parametrize(
    "headers",
    [{}, {"x-own": "a\r\nx-evil: 1"}, {"x-own": 7}, {"x-own": "ä"}, {"x own": "1"}],
    ids=str,
)
def test_one_that_fails_costs_no_call(
    headers: dict[str, Any], make_client: MakeClient, spans: SpanRecorder
) -> None:
    """It raises, or writes what no header can hold: the call goes out without."""
    handle = instrument_boto3(propagator=Own(**headers))
    sqs = make_client("sqs")
    sqs.list_queues()
    sent = seen_headers(sqs)
    assert sqs.list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
    handle.uninstrument()
    assert not {"x-own", "x own", "x-evil"} & sent[0].keys()


@pytest.mark.promise("AWS-13")
def test_a_header_that_is_there_stays(
    make_client: MakeClient, spans: SpanRecorder
) -> None:
    """The application's own goes before."""
    handle = instrument_boto3(propagator=Own(**{"x-own": "theirs"}))
    sqs = make_client("sqs")

    def set_own(request: Any, **_: Any) -> None:
        request.headers["X-Own"] = "mine"

    sqs.meta.events.register_first("before-send", set_own)
    sqs.list_queues()
    sent = seen_headers(sqs)
    sqs.list_queues()
    handle.uninstrument()
    assert sent[0]["x-own"] == "mine"
