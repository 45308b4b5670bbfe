"""EventBridge and Kinesis: events carry the trace context, Kinesis' on request."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from obs_aws import instrument_boto3, process_message
from obs_core.testing import SpanRecorder
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from .conftest import MakeClient, MakeStub
from .test_messaging import ids, receive


@pytest.mark.promise("AWS-05")
def test_events_carry_the_trace_header(
    make_stub: MakeStub, traced: SpanRecorder
) -> None:
    """PutEvents: `TraceHeader` of the events that have none; detail and the caller's dicts as they are."""
    client, stubber = make_stub("events")
    seen: list[dict[str, Any]] = []
    client.meta.events.register(
        "before-parameter-build.eventbridge.PutEvents",
        lambda params, **_: seen.append(params),
    )
    entries = [
        {"Source": "s", "DetailType": "d", "Detail": '{"a":  1}'},
        {"Source": "s", "DetailType": "d", "Detail": "{}", "TraceHeader": "own"},
    ]
    before = copy.deepcopy(entries)
    stubber.add_response("put_events", {"FailedEntryCount": 1, "Entries": []})
    client.put_events(Entries=entries)
    span = traced.one("EventBridge.PutEvents")
    assert entries == before
    assert seen[0]["Entries"][1] == entries[1]
    assert seen[0]["Entries"][0]["Detail"] == '{"a":  1}'
    trace_id = f"{span.context.trace_id:032x}"
    header = f"Root=1-{trace_id[:8]}-{trace_id[8:]};Parent={span.context.span_id:016x};Sampled=1"
    assert seen[0]["Entries"][0]["TraceHeader"] == header
    assert span.kind is SpanKind.PRODUCER
    assert (span.attributes or {})["aws.failed_entry_count"] == 1
    with process_message({"Attributes": {"AWSTraceHeader": header}}):
        pass
    assert traced.one("process").parent is not None
    assert traced.one("process").context.trace_id == span.context.trace_id


@pytest.mark.promise("AWS-05", "AWS-09")
def test_events_on_a_server(
    make_client: MakeClient, queue_url: str, traced: SpanRecorder, name: str
) -> None:
    """Moto's EventBridge takes the event and delivers its detail to a queue, unchanged."""
    events, sqs = make_client("events"), make_client("sqs")
    arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])[
        "Attributes"
    ]["QueueArn"]
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn}])
    answer = events.put_events(
        Entries=[{"Source": name, "DetailType": "d", "Detail": '{"a": 1}'}]
    )
    assert answer["FailedEntryCount"] == 0
    [message] = receive(sqs, queue_url)
    assert json.loads(message["Body"])["detail"] == {"a": 1}


@pytest.mark.promise("AWS-05")
def test_kinesis_only_on_request(make_stub: MakeStub, spans: SpanRecorder) -> None:
    """By default a record's bytes are the caller's; on request JSON objects carry the context, everything else does not."""
    data = [b'{"a":  1}', b"[1]", b"\x00\xff"]
    records = [{"Data": each, "PartitionKey": "p"} for each in data]
    seen: list[dict[str, Any]] = []
    for options in ({}, {"kinesis_context": True}):
        handle = instrument_boto3(**options)  # type: ignore[arg-type]
        client, stubber = make_stub("kinesis")
        client.meta.events.register(
            "before-parameter-build.kinesis.*", lambda params, **_: seen.append(params)
        )
        stubber.add_response("put_records", {"Records": [{"ErrorCode": "x"}]})
        client.put_records(StreamName="clicks", Records=records)
        stubber.add_response("put_record", {"ShardId": "s", "SequenceNumber": "1"})
        client.put_record(StreamName="clicks", Data=b'{"b": 2}', PartitionKey="p")
        handle.uninstrument()
    assert [record["Data"] for record in records] == data
    assert seen[0]["Records"] == records
    assert seen[1]["Data"] == b'{"b": 2}'
    first, *others = [record["Data"] for record in seen[2]["Records"]]
    assert others == data[1:]
    span = spans.named("Kinesis.PutRecords")[1]
    carried = trace.get_current_span(
        propagate.extract(json.loads(first), Context())
    ).get_span_context()
    assert (carried.trace_id, carried.span_id) == ids(span)
    assert "traceparent" in json.loads(seen[3]["Data"])
    assert (span.attributes or {})["aws.kinesis.stream_name"] == "clicks"
