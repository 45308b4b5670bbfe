"""`process_message`: the span of a message's processing, in the message's trace."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from obs_aws import process_message
from obs_core import correlation_scope, get_correlation_id
from obs_core.exceptions import ConfigurationError
from obs_core.testing import SpanRecorder
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from .conftest import CREDENTIALS, MakeClient
from .test_messaging import ids, receive

TRACER = trace.get_tracer("test")
PARENT = (0xA * 16**31 + 1, 0xB * 16**15 + 1)
TRACEPARENT = f"00-{PARENT[0]:032x}-{PARENT[1]:016x}-01"
XRAY = (
    f"Root=1-{TRACEPARENT[3:11]}-{TRACEPARENT[11:35]};Parent={PARENT[1]:016x};Sampled=1"
)

ENVELOPE = {
    "MessageId": "m",
    "TopicArn": "arn:aws:sns:us-east-1:1:t",
    "MessageAttributes": {"traceparent": {"Type": "String", "Value": TRACEPARENT}},
}


def message(value: Any = TRACEPARENT, **more: Any) -> dict[str, Any]:
    return {
        "MessageId": "m",
        "Body": "b",
        "MessageAttributes": {
            "traceparent": {"DataType": "String", "StringValue": value}
        },
        **more,
    }


@pytest.mark.promise("AWS-04")
def test_a_whole_span(spans: SpanRecorder) -> None:
    """A CONSUMER span below the producer, current in the block, as long as the block, and gone after it."""
    before = time.time_ns()
    with process_message(
        message(Attributes={"ApproximateReceiveCount": "2"}),
        destination="https://sqs/1/orders",
    ) as span:
        assert trace.get_current_span() is span
        entered = time.time_ns()
        time.sleep(0.02)
        left = time.time_ns()
    assert not trace.get_current_span().get_span_context().is_valid
    finished = spans.one("process orders")
    assert finished.kind is SpanKind.CONSUMER
    assert finished.status.status_code is StatusCode.UNSET
    assert finished.parent is not None
    assert (finished.parent.trace_id, finished.parent.span_id) == PARENT
    assert (
        before
        <= (finished.start_time or 0)
        <= entered
        < left
        <= (finished.end_time or 0)
        <= time.time_ns()
    )
    assert finished.links == ()
    assert dict(finished.attributes or {}) == {
        "messaging.system": "aws_sqs",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "orders",
        "messaging.message.id": "m",
        "aws.sqs.receive_count": 2,
    }


@pytest.mark.promise("AWS-04")
def test_from_end_to_end(
    make_client: MakeClient, queue_url: str, name: str, table: str, traced: SpanRecorder
) -> None:
    """API, queue, consumer and database are one trace."""
    sqs, database = make_client("sqs"), make_client("dynamodb")
    with TRACER.start_as_current_span("POST /orders"):
        sqs.send_message(QueueUrl=queue_url, MessageBody="7")
    traced_before = {
        span.context.span_id
        for span in traced
        if span.name != "POST /orders" and "send" not in span.name
    }
    for each in receive(sqs, queue_url):
        with process_message(each, destination=queue_url):
            database.put_item(TableName=table, Item={"id": {"S": each["Body"]}})
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=each["ReceiptHandle"])
    [trace_id] = {span.context.trace_id for span in traced.named("POST /orders")}
    whole = [
        span.name
        for span in traced
        if span.context.trace_id == trace_id
        and span.context.span_id not in traced_before
    ]
    assert whole == [
        f"send {name}",
        "POST /orders",
        "DynamoDB.PutItem",
        f"delete {name}",
        f"process {name}",
    ]
    process, put = traced.one(f"process {name}"), traced.one("DynamoDB.PutItem")
    assert process.parent is not None
    assert process.parent.span_id == traced.one(f"send {name}").context.span_id
    assert put.parent == process.context


@pytest.mark.promise("AWS-04")
def test_async(spans: SpanRecorder) -> None:
    """`async with` is the same; concurrent messages keep apart."""

    async def work(number: int) -> None:
        own = f"00-{number:032x}-{number:016x}-01"
        async with process_message(message(own), destination="q") as span:
            await asyncio.sleep(0.01)
            assert trace.get_current_span() is span

    async def main() -> None:
        await asyncio.gather(*(work(number) for number in range(1, 6)))

    asyncio.run(main())
    assert sorted(span.context.trace_id for span in spans.named("process q")) == [
        1,
        2,
        3,
        4,
        5,
    ]


@pytest.mark.promise("AWS-04")
def test_nothing_leaks_from_a_loop(spans: SpanRecorder) -> None:
    """`break`, `continue` and an exception each leave the block; the loop's own span is current again."""
    with TRACER.start_as_current_span("loop") as loop:
        for number in range(3):
            with process_message(message(), destination="q"):
                if number == 0:
                    continue
                break
        assert trace.get_current_span() is loop
        with pytest.raises(KeyError), process_message(message(), destination="q"):
            raise KeyError("lost")
        assert trace.get_current_span() is loop
    first, second, failed = spans.named("process q")
    assert [span.status.status_code for span in (first, second, failed)] == [
        StatusCode.UNSET,
        StatusCode.UNSET,
        StatusCode.ERROR,
    ]
    assert (failed.attributes or {})["error.type"] == "KeyError"
    assert [event.name for event in failed.events] == ["exception"]
    assert [link.context for link in first.links] == [loop.get_span_context()]


@pytest.mark.promise("AWS-04")
def test_linked_on_request(spans: SpanRecorder) -> None:
    """`relation="link"`: below the current span, or a root, and linked to the producer; baggage comes along."""
    carrying = message()
    carrying["MessageAttributes"]["baggage"] = {
        "DataType": "String",
        "StringValue": "correlation_id=order-7",
    }
    with (
        TRACER.start_as_current_span("loop") as loop,
        process_message(carrying, relation="link"),
    ):
        assert get_correlation_id() == "order-7"
    with process_message(carrying, relation="link"):
        pass
    below, root = spans.named("process")
    assert below.parent == loop.get_span_context()
    assert root.parent is None
    for span in (below, root):
        assert [
            (link.context.trace_id, link.context.span_id) for link in span.links
        ] == [PARENT]
        assert (span.attributes or {})["correlation_id"] == "order-7"


@pytest.mark.promise("AWS-04")
def test_a_batch_is_linked_once_a_message(
    make_client: MakeClient, queue_url: str, name: str, traced: SpanRecorder
) -> None:
    """Ten messages of three traces, processed as one: one span with ten links, each to its own sender."""
    sqs = make_client("sqs")
    for number, size in enumerate((4, 3, 3)):
        with TRACER.start_as_current_span(f"request {number}"):
            entries = [{"Id": str(each), "MessageBody": "b"} for each in range(size)]
            sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
    messages = receive(sqs, queue_url)
    with process_message(messages, destination=queue_url):
        pass
    span = traced.one(f"process {name}")
    assert span.parent is None
    assert (span.attributes or {})["messaging.batch.message_count"] == 10
    assert {
        (link.context.trace_id, link.context.span_id) for link in span.links
    } == set(map(ids, traced.named(f"create {name}")))
    assert [(link.attributes or {})["messaging.message.id"] for link in span.links] == [
        each["MessageId"] for each in messages
    ]


@pytest.mark.promise("AWS-04")
@pytest.mark.parametrize(
    "malformed",
    [
        message("garbage"),
        message(None),
        message(7),
        message(MessageAttributes="no"),
        message(MessageAttributes={"traceparent": "bare"}),
        message(MessageAttributes={"traceparent": {"DataType": "Binary", "BinaryValue": b"\xff\xfe"}}),
        message(MessageAttributes=None, Body=b"\x00\xff"),
        message(MessageAttributes=None, Body='{"TopicArn" not json'),
        message(MessageAttributes=None, Body='["TopicArn", "a list"]'),
        message(MessageAttributes=None, Attributes={"AWSTraceHeader": "Root=;;="}),
        message(MessageAttributes=None, Attributes={"ApproximateReceiveCount": "many"}),
        {},
        None,
        "text",
        object(),
    ],
)  # fmt: skip
def test_malformed_messages_are_processed_like_any(
    spans: SpanRecorder, malformed: Any
) -> None:
    """Whatever a message is, the block runs once, in a new trace, and the span is ended."""
    with process_message(malformed):
        pass
    assert spans.one("process").parent is None


@pytest.mark.promise("AWS-04")
@pytest.mark.parametrize(
    "spelling",
    [
        message(),
        message(MessageAttributes={"TraceParent": {"DataType": "String", "StringValue": TRACEPARENT}}),
        message(MessageAttributes={"traceparent": {"DataType": "Binary", "BinaryValue": TRACEPARENT.encode()}}),
        message(MessageAttributes=None, Attributes={"AWSTraceHeader": XRAY}),
        {"messageId": "m", "messageAttributes": {"traceparent": {"dataType": "String", "stringValue": TRACEPARENT}}},
        {"messageId": "m", "body": "b", "attributes": {"AWSTraceHeader": XRAY}},
        {"Sns": ENVELOPE},
        {"MessageId": "m", "Body": json.dumps(ENVELOPE)},
    ],
)  # fmt: skip
def test_every_spelling_of_a_message(
    spans: SpanRecorder, spelling: dict[str, Any]
) -> None:
    """Client, Lambda event, SNS record and SNS envelope; attribute, binary attribute and X-Ray header."""
    with process_message(spelling):
        pass
    [span] = spans.finished
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id) == PARENT
    assert (span.attributes or {})["messaging.message.id"] == "m"


@pytest.mark.promise("AWS-04", "AWS-01")
def test_a_message_of_the_resource(
    traced: SpanRecorder, aws_url: str, queue_url: str, name: str
) -> None:
    """A boto3 `sqs.Message` tells its context and its queue."""
    queue = (
        boto3.Session()
        .resource("sqs", endpoint_url=aws_url, **CREDENTIALS)
        .Queue(queue_url)
    )
    queue.send_message(MessageBody="b")
    for each in queue.receive_messages():
        with process_message(each):
            each.delete()
    process = traced.one(f"process {name}")
    assert process.parent is not None
    assert process.parent.span_id == traced.one(f"send {name}").context.span_id
    assert traced.one(f"delete {name}").parent == process.context


@pytest.mark.promise("AWS-04")
def test_the_correlation_id_crosses_the_queue(
    make_client: MakeClient, queue_url: str, name: str, traced: SpanRecorder
) -> None:
    """The sender's id is the consumer's."""
    sqs = make_client("sqs")
    with correlation_scope("order-7"):
        sqs.send_message(QueueUrl=queue_url, MessageBody="b")
    [each] = receive(sqs, queue_url)
    with process_message(each, destination=name):
        assert get_correlation_id() == "order-7"
    assert get_correlation_id() is None
    assert (traced.one(f"process {name}").attributes or {})[
        "correlation_id"
    ] == "order-7"


@pytest.mark.promise("AWS-04", "AWS-02")
def test_an_error_of_aws_tells_its_code_only(
    make_client: MakeClient, traced: SpanRecorder, name: str
) -> None:
    """AWS's message, which may quote an item, is not exported by the process span either."""
    with pytest.raises(ClientError), process_message(message(), destination="q"):
        make_client("dynamodb").get_item(TableName=name, Key={"id": {"S": "secret"}})
    span = traced.one("process q")
    assert (span.status.status_code, span.status.description) == (
        StatusCode.ERROR,
        "ResourceNotFoundException",
    )
    assert span.events == ()


def test_an_unknown_relation_is_refused() -> None:
    """Configuration errors are raised at once."""
    with pytest.raises(ConfigurationError, match="relation='child'"):
        process_message(message(), relation="child")  # type: ignore[arg-type]
