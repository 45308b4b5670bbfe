"""The propagators of AWS calls: W3C, X-Ray on request, and one that raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from obs_aws import instrument_boto3
from obs_core.testing import SpanRecorder
from opentelemetry import propagate
from opentelemetry.propagators.textmap import TextMapPropagator

from .conftest import MakeClient
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
