"""SQS and SNS: what each message carries, what the caller's dicts are afterwards, and what a poll makes."""

from __future__ import annotations

import asyncio
import copy
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from obs_aws import instrument_boto3
from obs_core import correlation_scope
from obs_core.testing import SpanRecorder
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from .conftest import MakeClient, aio_client

TRACER = trace.get_tracer("test")


def receive(client: Any, queue_url: str, **options: Any) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = client.receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, **options
    ).get("Messages", [])
    return messages


def carried(message: dict[str, Any]) -> tuple[int, int]:
    """The trace and span id that a received message carries."""
    _, trace_id, span_id, _ = message["MessageAttributes"]["traceparent"][
        "StringValue"
    ].split("-")
    return int(trace_id, 16), int(span_id, 16)


def ids(span: ReadableSpan) -> tuple[int, int]:
    return span.context.trace_id, span.context.span_id


def text_attributes(count: int) -> dict[str, Any]:
    return {
        f"a{number}": {"DataType": "String", "StringValue": str(number)}
        for number in range(count)
    }


@pytest.mark.promise("AWS-03")
def test_a_message_carries_its_senders_context(
    make_client: MakeClient, queue_url: str, name: str, traced: SpanRecorder
) -> None:
    """The PRODUCER span is whole, the message carries it, and the caller's parameters are untouched."""
    sqs = make_client("sqs")
    params = {
        "QueueUrl": queue_url,
        "MessageBody": "hello",
        "MessageAttributes": text_attributes(1),
    }
    before = copy.deepcopy(params)
    with TRACER.start_as_current_span("request") as request:
        sent = sqs.send_message(**params)
    assert params == before
    [message] = receive(sqs, queue_url, MessageAttributeNames=["a0"])
    span = traced.one(f"send {name}")
    assert carried(message) == ids(span)
    assert message["MessageAttributes"]["a0"]["StringValue"] == "0"
    assert message["Body"] == "hello"
    assert span.kind is SpanKind.PRODUCER
    assert span.parent == request.get_span_context()
    assert span.status.status_code is StatusCode.UNSET
    server = {
        key: value
        for key, value in (span.attributes or {}).items()
        if key.startswith("server.")
    }
    assert dict(span.attributes or {}) == server | {
        "rpc.system": "aws-api",
        "rpc.service": "SQS",
        "rpc.method": "SendMessage",
        "cloud.region": "us-east-1",
        "messaging.system": "aws_sqs",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": name,
        "messaging.message.id": sent["MessageId"],
        "aws.sqs.queue.url": queue_url,
        "aws.request_id": sent["ResponseMetadata"]["RequestId"],
        "http.response.status_code": 200,
    }


@pytest.mark.promise("AWS-03")
def test_each_message_of_a_batch_has_a_context_of_its_own(
    make_client: MakeClient, queue_url: str, name: str, traced: SpanRecorder
) -> None:
    """A CLIENT span for the call, below it a PRODUCER span a message, told apart by the message's id."""
    sqs = make_client("sqs")
    entries = [
        {"Id": str(number), "MessageBody": f"body {number}"} for number in range(3)
    ]
    before = copy.deepcopy(entries)
    sent = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
    assert entries == before
    call, created = traced.one(f"send {name}"), traced.named(f"create {name}")
    assert call.kind is SpanKind.CLIENT
    assert (call.attributes or {})["messaging.batch.message_count"] == 3
    assert {span.kind for span in created} == {SpanKind.PRODUCER}
    assert {span.parent and span.parent.span_id for span in created} == {
        call.context.span_id
    }
    by_message_id = {
        (span.attributes or {})["messaging.message.id"]: span for span in created
    }
    assert by_message_id.keys() == {each["MessageId"] for each in sent["Successful"]}
    messages = receive(sqs, queue_url)
    assert {message["MessageId"]: carried(message) for message in messages} == {
        key: ids(span) for key, span in by_message_id.items()
    }


@pytest.mark.promise("AWS-03")
def test_a_refused_message_of_a_batch_is_told(
    make_stub: Any, traced: SpanRecorder
) -> None:
    """Of a batch that AWS takes in part, the refused message's span is the one that is ERROR."""
    client, stubber = make_stub("sqs")
    answer = {
        "Successful": [{"Id": "0", "MessageId": "m0", "MD5OfMessageBody": "x"}],
        "Failed": [{"Id": "1", "Code": "InternalError", "SenderFault": False}],
    }
    stubber.add_response("send_message_batch", answer)
    entries = [{"Id": str(number), "MessageBody": "b"} for number in range(2)]
    client.send_message_batch(
        QueueUrl="https://sqs.us-east-1.amazonaws.com/1/orders", Entries=entries
    )
    told = [
        (span.status.status_code.name, (span.attributes or {}).get("error.type"))
        for span in traced.named("create orders")
    ]
    assert told == [("UNSET", None), ("ERROR", "InternalError")]
    assert (traced.one("send orders").attributes or {})["aws.failed_entry_count"] == 1


@pytest.mark.promise("AWS-03")
@pytest.mark.parametrize(("present", "carries"), [(9, True), (10, False)])
def test_no_more_than_ten_attributes(
    make_client: MakeClient,
    queue_url: str,
    traced: SpanRecorder,
    present: int,
    carries: bool,
) -> None:
    """A message has as much of the context as ten attributes have room for, and all of the caller's."""
    sqs = make_client("sqs")
    with correlation_scope("order-7"):
        sqs.send_message(
            QueueUrl=queue_url,
            MessageBody="b",
            MessageAttributes=text_attributes(present),
        )
    [message] = receive(sqs, queue_url, MessageAttributeNames=["All"])
    assert text_attributes(present).keys() <= message["MessageAttributes"].keys()
    assert ("traceparent" in message["MessageAttributes"]) is carries
    assert len(message["MessageAttributes"]) == 10


@pytest.mark.promise("AWS-03")
def test_a_forwarded_messages_old_context_gives_way(
    make_client: MakeClient, queue_url: str, name: str, traced: SpanRecorder
) -> None:
    """Attributes passed on from a received message, ten of them, carry the new sender's context."""
    sqs = make_client("sqs")
    old = {
        "traceparent": {
            "DataType": "String",
            "StringValue": f"00-{'a' * 32}-{'b' * 16}-01",
        }
    }
    sqs.send_message(
        QueueUrl=queue_url,
        MessageBody="b",
        MessageAttributes={**text_attributes(9), **old},
    )
    [message] = receive(sqs, queue_url)
    assert carried(message) == ids(traced.one(f"send {name}"))


@pytest.mark.promise("AWS-03")
def test_baggage_travels(
    make_client: MakeClient, queue_url: str, traced: SpanRecorder
) -> None:
    """The correlation id is among what a message carries."""
    sqs = make_client("sqs")
    with correlation_scope("order-7"):
        sqs.send_message(QueueUrl=queue_url, MessageBody="b")
    [message] = receive(sqs, queue_url)
    assert (
        message["MessageAttributes"]["baggage"]["StringValue"]
        == "correlation_id=order-7"
    )


@pytest.mark.promise("AWS-03")
@pytest.mark.parametrize("size", [262_144, 1_048_576])
def test_the_context_never_makes_a_message_too_big(
    make_stub: Any, traced: SpanRecorder, size: int
) -> None:
    """A message that is just within AWS's limit goes as it is: 300 bytes less, and it carries the context."""
    client, stubber = make_stub("sqs")
    seen: list[dict[str, Any]] = []
    client.meta.events.register(
        "before-parameter-build.sqs.SendMessage",
        lambda params, **_: seen.append(params),
    )
    for length in (size, size - 300):
        stubber.add_response("send_message", {"MessageId": "m"})
        client.send_message(
            QueueUrl="https://sqs/1/q", MessageBody="é" * 10 + "x" * (length - 20)
        )
    assert ["MessageAttributes" in params for params in seen] == [False, True]


@pytest.mark.promise("AWS-03")
def test_binary_attributes_survive(
    make_client: MakeClient, queue_url: str, traced: SpanRecorder
) -> None:
    """Binary and number attributes arrive byte for byte beside the context."""
    sqs = make_client("sqs")
    mixed = {
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff\x80"},
        "n": {"DataType": "Number", "StringValue": "1"},
    }
    sqs.send_message(
        QueueUrl=queue_url, MessageBody="\u00e9\u4e2d", MessageAttributes=mixed
    )
    [message] = receive(sqs, queue_url, MessageAttributeNames=["All"])
    assert message["MessageAttributes"]["raw"]["BinaryValue"] == b"\x00\xff\x80"
    assert message["Body"] == "\u00e9\u4e2d"


@pytest.mark.promise("AWS-03")
@pytest.mark.parametrize("entries", [None, [], ["no"], "text"])
def test_malformed_batches_fail_as_without_us(
    make_client: MakeClient, queue_url: str, traced: SpanRecorder, entries: Any
) -> None:
    """A batch without entries, or of something else, is answered as if nobody traced it."""
    sqs = make_client("sqs")
    params = {
        "QueueUrl": queue_url,
        **({} if entries is None else {"Entries": entries}),
    }
    errors = []
    for _ in range(2):
        with pytest.raises((ParamValidationError, ClientError)) as caught:
            sqs.send_message_batch(**params)
        errors.append(str(caught.value))
        instrument_boto3().uninstrument()
    assert errors[0] == errors[1]


@pytest.mark.promise("AWS-03")
@pytest.mark.parametrize(
    "bad",
    [
        {"MessageAttributes": "no"},
        {"MessageAttributes": {"a": 1}},
        {"MessageBody": b"raw"},
    ],
)
def test_malformed_parameters_fail_as_without_us(
    make_client: MakeClient, queue_url: str, traced: SpanRecorder, bad: Any
) -> None:
    """Botocore's own complaint reaches the caller, about what the caller gave."""
    with pytest.raises(ParamValidationError) as caught:
        make_client("sqs").send_message(
            **{"QueueUrl": queue_url, "MessageBody": "b", **bad}
        )
    assert "traceparent" not in str(caught.value)
    [span] = [span for span in traced if span.name.startswith("send")]
    assert span.status.status_code is StatusCode.ERROR


@pytest.mark.promise("AWS-03")
def test_sns_carries_it_to_the_queue(
    make_client: MakeClient, queue_url: str, name: str, traced: SpanRecorder
) -> None:
    """Publish and PublishBatch: contexts of their own through a raw subscription; the caller's dicts stay as they are."""
    sqs, sns = make_client("sqs"), make_client("sns")
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue_arn = sqs.get_queue_attributes(
        QueueUrl=queue_url, AttributeNames=["QueueArn"]
    )["Attributes"]["QueueArn"]
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=queue_arn,
        Attributes={"RawMessageDelivery": "true"},
    )
    attributes = text_attributes(1)
    entries = [
        {"Id": str(n), "Message": f"m{n}", "MessageAttributes": text_attributes(1)}
        for n in range(2)
    ]
    before = copy.deepcopy((attributes, entries))
    sns.publish(TopicArn=topic, Message="one", MessageAttributes=attributes)
    sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert (attributes, entries) == before
    single = next(
        span for span in traced.named(f"send {name}") if span.kind is SpanKind.PRODUCER
    )
    assert (single.attributes or {})["messaging.system"] == "aws.sns"
    assert (single.attributes or {})["aws.sns.topic.arn"] == topic
    sent = [single, *traced.named(f"create {name}")]
    assert len(sent) == 3
    assert {carried(message) for message in receive(sqs, queue_url)} == set(
        map(ids, sent)
    )


@pytest.mark.promise("AWS-03", "AWS-07")
def test_a_phone_number_is_not_told(make_stub: Any, traced: SpanRecorder) -> None:
    """An SMS carries nothing, and its number is in no attribute."""
    client, stubber = make_stub("sns")
    stubber.add_response(
        "publish", {"MessageId": "m"}, {"PhoneNumber": "+15550100", "Message": "hi"}
    )
    client.publish(PhoneNumber="+15550100", Message="hi")
    assert "15550100" not in traced.one("send sms").to_json()


@pytest.mark.promise("AWS-03")
def test_a_poll_asks_for_the_context_and_for_the_callers_names(
    make_stub: Any, traced: SpanRecorder
) -> None:
    """To what the caller asks for the context's names are added; a caller who asks for all is left alone."""
    client, stubber = make_stub("sqs")
    ours = ["baggage", "traceparent", "tracestate"]
    url = {"QueueUrl": "https://sqs/1/q"}
    for given, wanted in [
        ({}, {"MessageAttributeNames": ours, "AttributeNames": ["AWSTraceHeader"]}),
        (
            {"MessageAttributeNames": ["a"]},
            {
                "MessageAttributeNames": ["a", *ours],
                "AttributeNames": ["AWSTraceHeader"],
            },
        ),
        (
            {"MessageAttributeNames": ["All"], "AttributeNames": ["All"]},
            {"MessageAttributeNames": ["All"], "AttributeNames": ["All"]},
        ),
    ]:
        before = copy.deepcopy(given)
        stubber.add_response("receive_message", {}, {**url, **wanted})
        client.receive_message(**url, **given)
        assert given == before


@pytest.mark.promise("AWS-08")
def test_an_empty_poll_makes_no_span(
    make_client: MakeClient, queue_url: str, name: str, traced: SpanRecorder
) -> None:
    """Nothing received, nothing told; nor is the caller's own span touched."""
    with TRACER.start_as_current_span("loop"):
        assert receive(make_client("sqs"), queue_url) == []
    assert [span.name for span in traced] == ["loop"]


@pytest.mark.promise("AWS-08")
def test_empty_polls_on_request(
    make_client: MakeClient, queue_url: str, name: str, spans: SpanRecorder
) -> None:
    """With `include_empty_polls=True` every poll is a span."""
    handle = instrument_boto3(include_empty_polls=True)
    receive(make_client("sqs"), queue_url)
    handle.uninstrument()
    assert (spans.one(f"receive {name}").attributes or {})[
        "messaging.batch.message_count"
    ] == 0


@pytest.mark.promise("AWS-08", "AWS-06")
def test_a_failing_poll_is_an_error(
    make_client: MakeClient, queue_url: str, name: str, traced: SpanRecorder
) -> None:
    """A poll that AWS refuses is a span, ERROR."""
    with pytest.raises(ClientError):
        receive(make_client("sqs"), queue_url + "-gone")
    span = traced.one(f"receive {name}-gone")
    assert span.status.status_code is StatusCode.ERROR
    assert str((span.attributes or {})["error.type"]).endswith("NonExistentQueue")


@pytest.mark.promise("AWS-08")
def test_a_poll_cancelled_at_shutdown_is_no_span(
    traced: SpanRecorder, aws_url: str, queue_url: str
) -> None:
    """A consumer that is stopped while it waits has not failed."""

    async def main() -> None:
        async with aio_client("sqs", aws_url) as client:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(
                    client.receive_message(QueueUrl=queue_url, WaitTimeSeconds=5), 0.5
                )

    asyncio.run(main())
    assert [span.name for span in traced if "receive" in span.name] == []


@pytest.mark.promise("AWS-03", "AWS-04")
def test_ten_messages_of_three_traces_received_together(
    make_client: MakeClient, queue_url: str, name: str, traced: SpanRecorder
) -> None:
    """The poll is one CLIENT span, that lasts as long as the poll, linked once for each message to the span that sent it."""
    sqs = make_client("sqs")
    for number in range(3):
        with TRACER.start_as_current_span(f"request {number}"):
            entries = [
                {"Id": str(each), "MessageBody": "b"}
                for each in range((4, 3, 3)[number])
            ]
            sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
    created = {
        (span.attributes or {})["messaging.message.id"]: span
        for span in traced.named(f"create {name}")
    }
    before = time.time_ns()
    messages = receive(sqs, queue_url)
    span = traced.one(f"receive {name}")
    assert len(messages) == 10
    assert span.kind is SpanKind.CLIENT
    assert span.parent is None
    assert before <= (span.start_time or 0) < (span.end_time or 0) <= time.time_ns()
    linked = {
        (link.attributes or {})["messaging.message.id"]: link.context
        for link in span.links
    }
    assert {key: (link.trace_id, link.span_id) for key, link in linked.items()} == {
        key: ids(span) for key, span in created.items()
    }
    assert len({link.trace_id for link in linked.values()}) == 3
    assert (span.attributes or {})["messaging.batch.message_count"] == 10


@pytest.mark.promise("AWS-03")
def test_a_poll_stands_below_the_span_around_it(
    make_client: MakeClient, queue_url: str, name: str, traced: SpanRecorder
) -> None:
    """Although it is made late, a poll's span is a child of the one that was current when the poll began."""
    sqs = make_client("sqs")
    sqs.send_message(QueueUrl=queue_url, MessageBody="b")
    with TRACER.start_as_current_span("loop") as loop:
        receive(sqs, queue_url)
        with pytest.raises(ClientError):
            receive(sqs, queue_url + "-gone")
    parents = [span.parent for span in traced if span.name.startswith("receive")]
    assert parents == [loop.get_span_context()] * 2


@pytest.mark.promise("AWS-03")
def test_mixed_messages_received_together(
    make_client: MakeClient, queue_url: str, name: str, traced: SpanRecorder
) -> None:
    """Malformed, binary, foreign and absent contexts are passed over; the one good one is linked."""
    sqs = make_client("sqs")
    bad: list[dict[str, Any]] = [
        {},
        {"traceparent": {"DataType": "String", "StringValue": "garbage"}},
        {"traceparent": {"DataType": "Binary", "BinaryValue": b"\xff\xfe"}},
        {"traceparent": {"DataType": "Number", "StringValue": "7"}},
        {
            "traceparent": {
                "DataType": "String",
                "StringValue": f"00-{'0' * 32}-{'0' * 16}-01",
            }
        },
    ]
    handle = instrument_boto3()
    handle.uninstrument()
    for attributes in bad:
        sqs.send_message(
            QueueUrl=queue_url, MessageBody="{", MessageAttributes=attributes
        )
    instrument_boto3()
    sqs.send_message(QueueUrl=queue_url, MessageBody="good")
    assert len(receive(sqs, queue_url)) == 6
    assert [link.context.span_id for link in traced.one(f"receive {name}").links] == [
        traced.one(f"send {name}").context.span_id
    ]
    instrument_boto3().uninstrument()


@pytest.mark.promise("AWS-03")
def test_settling_is_named(
    make_client: MakeClient, queue_url: str, name: str, traced: SpanRecorder
) -> None:
    """Deleting a message is a CLIENT span of type settle, without the receipt handle."""
    sqs = make_client("sqs")
    sqs.send_message(QueueUrl=queue_url, MessageBody="b")
    [message] = receive(sqs, queue_url)
    sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    span = traced.one(f"delete {name}")
    assert span.kind is SpanKind.CLIENT
    assert (span.attributes or {})["messaging.operation.type"] == "settle"
    assert message["ReceiptHandle"] not in span.to_json()


@pytest.mark.promise("AWS-03")
def test_aiobotocore_sends_and_receives(
    traced: SpanRecorder, aws_url: str, queue_url: str, name: str
) -> None:
    """The asynchronous client's messages carry their context as well."""

    async def main() -> list[dict[str, Any]]:
        async with aio_client("sqs", aws_url) as client:
            await client.send_message(QueueUrl=queue_url, MessageBody="b")
            answer: dict[str, Any] = await client.receive_message(QueueUrl=queue_url)
            return list(answer["Messages"])

    [message] = asyncio.run(main())
    assert carried(message) == ids(traced.one(f"send {name}"))
    assert [link.context.span_id for link in traced.one(f"receive {name}").links] == [
        traced.one(f"send {name}").context.span_id
    ]


@pytest.mark.promise("AWS-03")
def test_an_unsampled_sender_is_carried_too(
    make_client: MakeClient, queue_url: str
) -> None:
    """Not recorded, the context still travels, flagged so that nobody else records it."""
    from obs_core.testing import record_spans

    with record_spans(sampling_rate=0.0) as spans:
        handle = instrument_boto3()
        sqs = make_client("sqs")
        sqs.send_message_batch(
            QueueUrl=queue_url, Entries=[{"Id": "1", "MessageBody": "b"}]
        )
        [message] = receive(sqs, queue_url)
        handle.uninstrument()
    assert len(spans) == 0
    assert (
        int(
            message["MessageAttributes"]["traceparent"]["StringValue"].rpartition("-")[
                2
            ],
            16,
        )
        & 1
        == 0
    )
