"""DynamoDB, S3, Lambda, EventBridge and Kinesis: what is told, what is carried, and what never is."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from obs_aws import instrument_boto3, process_message
from obs_core.testing import SpanRecorder
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode

from .conftest import CREDENTIALS, MakeClient, exported
from .test_messaging import ids, receive

ITEM = {"id": {"S": "item-secret-1"}, "note": {"S": "item-secret-2"}}
MakeStub = Callable[..., Any]


def encoded(client_context: bytes) -> str:
    return base64.b64encode(client_context).decode()


@pytest.mark.promise("AWS-02")
def test_tables_of_every_kind_of_call(
    make_client: MakeClient, table: str, name: str, traced: SpanRecorder
) -> None:
    """Single, batch and transaction calls name their tables, the batches their size, and none an item."""
    client = make_client("dynamodb")
    key = {"id": ITEM["id"]}
    client.put_item(TableName=table, Item=ITEM)
    client.query(
        TableName=table,
        KeyConditionExpression="id = :i",
        ExpressionAttributeValues={":i": ITEM["id"]},
        Limit=5,
    )
    client.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": ITEM}}]})
    client.batch_get_item(RequestItems={table: {"Keys": [key]}})
    client.transact_write_items(
        TransactItems=[{"Put": {"TableName": table, "Item": ITEM}}]
    )
    client.transact_get_items(TransactItems=[{"Get": {"TableName": table, "Key": key}}])
    client.update_item(
        TableName=table, Key=key, UpdateExpression="SET #n = :n", ExpressionAttributeNames={"#n": "note"},
        ExpressionAttributeValues={":n": {"S": "item-secret-3"}},
    )  # fmt: skip
    client.execute_statement(
        Statement=f"SELECT * FROM \"{table}\" WHERE id = 'item-secret-1'"
    )
    calls = [span for span in traced if span.name != "DynamoDB.CreateTable"]
    *named, statement = [span.attributes or {} for span in calls]
    assert {attributes["aws.dynamodb.table_names"] for attributes in named} == {
        (table,)
    }
    assert {attributes["db.collection.name"] for attributes in named} == {table}
    assert [attributes.get("db.operation.batch.size") for attributes in named] == [
        None,
        None,
        1,
        1,
        1,
        1,
        None,
    ]
    assert statement["db.operation.name"] == "ExecuteStatement"
    assert (traced.one("DynamoDB.Query").attributes or {})["aws.dynamodb.limit"] == 5
    assert (traced.one("DynamoDB.Query").attributes or {})["aws.dynamodb.count"] == 1
    assert "item-secret" not in exported(traced)


@pytest.mark.promise("AWS-02")
def test_several_tables(make_stub: MakeStub, traced: SpanRecorder) -> None:
    """A transaction over several tables names each once, in order; what a batch left over is counted."""
    client, stubber = make_stub("dynamodb")
    actions = [
        {"Put": {"TableName": "lines", "Item": ITEM}},
        {"Delete": {"TableName": "heads", "Key": ITEM}},
        {
            "ConditionCheck": {
                "TableName": "lines",
                "Key": ITEM,
                "ConditionExpression": "x",
            }
        },
    ]
    stubber.add_response("transact_write_items", {})
    client.transact_write_items(TransactItems=actions)
    stubber.add_response(
        "batch_write_item",
        {"UnprocessedItems": {"heads": [{"PutRequest": {"Item": ITEM}}] * 2}},
    )
    client.batch_write_item(
        RequestItems={"heads": [{"PutRequest": {"Item": ITEM}}] * 3}
    )
    stubber.add_response(
        "batch_get_item", {"UnprocessedKeys": {"heads": {"Keys": [ITEM]}}}
    )
    client.batch_get_item(RequestItems={"heads": {"Keys": [ITEM]}})
    assert (traced.one("DynamoDB.TransactWriteItems").attributes or {})[
        "aws.dynamodb.table_names"
    ] == ("heads", "lines")
    assert (traced.one("DynamoDB.BatchWriteItem").attributes or {})[
        "aws.dynamodb.unprocessed_count"
    ] == 2
    assert (traced.one("DynamoDB.BatchGetItem").attributes or {})[
        "aws.dynamodb.unprocessed_count"
    ] == 1
    assert "item-secret" not in exported(traced)


@pytest.mark.promise("AWS-02")
def test_consumed_capacity_when_asked_for(
    make_client: MakeClient, table: str, traced: SpanRecorder, aws_url: str
) -> None:
    """What AWS answers of the capacity is recorded, of client and resource; nothing where it was not asked for."""
    client = make_client("dynamodb")
    client.query(
        TableName=table,
        KeyConditionExpression="id = :i",
        ExpressionAttributeValues={":i": ITEM["id"]},
    )
    asked = {"ReturnConsumedCapacity": "TOTAL", "KeyConditionExpression": "id = :i"}
    client.query(TableName=table, ExpressionAttributeValues={":i": ITEM["id"]}, **asked)
    resource = (
        boto3.Session()
        .resource("dynamodb", endpoint_url=aws_url, **CREDENTIALS)
        .Table(table)
    )
    resource.query(ExpressionAttributeValues={":i": "1"}, **asked)
    without, *with_it = [
        (span.attributes or {}).get("aws.dynamodb.consumed_capacity")
        for span in traced.named("DynamoDB.Query")
    ]
    assert without is None
    assert [
        json.loads(each[0])["TableName"] for each in with_it if isinstance(each, tuple)
    ] == [
        table,
        table,
    ]


@pytest.mark.promise("AWS-11")
@pytest.mark.parametrize(
    ("opt_in", "former"),
    [
        ("database/dup", {"db.system": "dynamodb", "db.operation": "ListTables"}),
        ("http, database/dup", {"db.system": "dynamodb", "db.operation": "ListTables"}),
        ("database", {}),
        ("", {}),
    ],
)
def test_former_names_on_request(
    make_client: MakeClient,
    spans: SpanRecorder,
    monkeypatch: pytest.MonkeyPatch,
    opt_in: str,
    former: dict[str, str],
) -> None:
    """Under `database/dup` a DynamoDB call has the former names beside the stable ones; calls of no database have none."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opt_in)
    handle = instrument_boto3()
    make_client("dynamodb").list_tables()
    make_client("sqs").list_queues()
    handle.uninstrument()
    attributes = dict(spans.one("DynamoDB.ListTables").attributes or {})
    if former:
        former |= {
            "net.peer.name": attributes["server.address"],
            "net.peer.port": attributes["server.port"],
        }
    names = ("db.system", "db.operation", "net.peer.name", "net.peer.port")
    assert {key: attributes[key] for key in names if key in attributes} == former
    assert attributes["db.system.name"] == "aws.dynamodb"
    assert not {*names, "db.system.name"} & set(
        spans.one("SQS.ListQueues").attributes or {}
    )


@pytest.mark.promise("AWS-03")
def test_only_what_sends_is_a_producer(
    make_stub: MakeStub, traced: SpanRecorder
) -> None:
    """Kinesis and EventBridge are sent to by PRODUCER spans; their other calls are CLIENT spans."""
    kinesis, stubber = make_stub("kinesis")
    stubber.add_response("put_record", {"ShardId": "s", "SequenceNumber": "1"})
    kinesis.put_record(StreamName="s", Data=b"{}", PartitionKey="k")
    stubber.add_response("get_records", {"Records": []})
    kinesis.get_records(ShardIterator="i")
    events, stubber = make_stub("events")
    stubber.add_response("put_events", {"FailedEntryCount": 0, "Entries": []})
    events.put_events(Entries=[{"Source": "s", "DetailType": "d", "Detail": "{}"}])
    stubber.add_response("list_rules", {"Rules": []})
    events.list_rules()
    assert {span.name: span.kind for span in traced} == {
        "Kinesis.PutRecord": SpanKind.PRODUCER,
        "Kinesis.GetRecords": SpanKind.CLIENT,
        "EventBridge.PutEvents": SpanKind.PRODUCER,
        "EventBridge.ListRules": SpanKind.CLIENT,
    }


@pytest.mark.promise("AWS-07")
def test_s3_tells_the_bucket_and_not_the_key(
    make_client: MakeClient, name: str, traced: SpanRecorder
) -> None:
    """By default the key is in no exported string, not even of a failure; the body never."""
    s3 = make_client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="key-secret.txt", Body=b"body-secret")
    assert (
        s3.get_object(Bucket=name, Key="key-secret.txt")["Body"].read()
        == b"body-secret"
    )
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=name, Key="key-secret.gone")
    assert {(span.attributes or {})["aws.s3.bucket"] for span in traced} == {name}
    assert "-secret" not in exported(traced)


@pytest.mark.promise("AWS-07")
def test_s3_keys_on_request(
    make_client: MakeClient, name: str, spans: SpanRecorder
) -> None:
    """With `capture_s3_keys=True` the key is told."""
    handle = instrument_boto3(capture_s3_keys=True)
    s3 = make_client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="a/b.txt", Body=b"x")
    handle.uninstrument()
    assert (spans.one("S3.PutObject").attributes or {})["aws.s3.key"] == "a/b.txt"


@pytest.mark.promise("AWS-07")
def test_presigning_makes_no_span(
    make_client: MakeClient, name: str, traced: SpanRecorder
) -> None:
    """A presigned URL is made without a call, so without a span, and is what it would be."""
    url = make_client("s3").generate_presigned_url(
        "get_object", Params={"Bucket": name, "Key": "k"}
    )
    assert "Signature=" in url
    assert len(traced) == 0


@pytest.mark.promise("AWS-05")
@pytest.mark.parametrize(
    "payload", [b'{"a":  1, "headers": null}', b"\x00\xff not json", b""]
)
def test_lambda_carries_it_beside_the_payload(
    make_stub: MakeStub, traced: SpanRecorder, payload: bytes
) -> None:
    """The payload goes byte for byte; the context stands in ClientContext.custom beside what the caller has there."""
    client, stubber = make_stub("lambda")
    seen: list[dict[str, Any]] = []
    client.meta.events.register(
        "before-parameter-build.lambda.Invoke", lambda params, **_: seen.append(params)
    )
    own = {"client": {"app": "x"}, "custom": {"mine": "1"}}
    params = {"FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:price:live", "Payload": payload,
              "ClientContext": base64.b64encode(json.dumps(own).encode()).decode()}  # fmt: skip
    before = copy.deepcopy(params)
    stubber.add_response("invoke", {"StatusCode": 200})
    client.invoke(**params)
    span = traced.one("Lambda.Invoke")
    client_context = json.loads(base64.b64decode(seen[0]["ClientContext"]))
    carried = trace.get_current_span(
        propagate.extract(client_context["custom"], Context())
    ).get_span_context()
    assert params == before
    assert seen[0]["Payload"] == payload
    assert (carried.trace_id, carried.span_id) == ids(span)
    assert client_context["client"] == own["client"]
    assert client_context["custom"]["mine"] == "1"
    assert {
        key: value
        for key, value in (span.attributes or {}).items()
        if key.startswith("faas")
    } == {
        "faas.invoked_name": "price",
        "faas.invoked_provider": "aws",
        "faas.invoked_region": "us-east-1",
    }


@pytest.mark.promise("AWS-05")
@pytest.mark.parametrize(
    "own",
    [
        "!no base64!",
        *map(encoded, (b"no json", b'{"custom": 1}', b'{"x": "%s"}' % (b"y" * 2600))),
    ],
)
def test_a_client_context_that_cannot_carry_it_stays(
    make_stub: MakeStub, traced: SpanRecorder, own: str
) -> None:
    """What is not JSON, has no room or another shape goes as the caller gave it."""
    client, stubber = make_stub("lambda")
    stubber.add_response(
        "invoke", {"StatusCode": 200}, {"FunctionName": "f", "ClientContext": own}
    )
    client.invoke(FunctionName="f", ClientContext=own)
    assert traced.one("Lambda.Invoke").status.status_code is StatusCode.UNSET


@pytest.mark.promise("AWS-05", "AWS-06")
def test_a_function_that_failed(make_stub: MakeStub, traced: SpanRecorder) -> None:
    """AWS answers 200 for a function that raised; the span says that it failed."""
    client, stubber = make_stub("lambda")
    stubber.add_response("invoke", {"StatusCode": 200, "FunctionError": "Unhandled"})
    client.invoke(FunctionName="f")
    span = traced.one("Lambda.Invoke")
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "Unhandled"


@pytest.mark.promise("AWS-05", "AWS-09")
def test_lambda_on_a_server(
    make_client: MakeClient,
    name: str,
    traced: SpanRecorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Moto's Lambda takes the call that carries the context."""
    client, iam = make_client("lambda"), make_client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    code = {"ZipFile": base64.b64decode("UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==")}
    client.create_function(
        FunctionName=name, Runtime="python3.11", Role=role, Handler="a.b", Code=code
    )
    function = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    client.invoke(FunctionName=function, InvocationType="DryRun", Payload=b"{}")
    assert (traced.one("Lambda.Invoke").attributes or {})["faas.invoked_name"] == name


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


def test_secrets_are_told_by_arn_only(
    make_stub: MakeStub, traced: SpanRecorder
) -> None:
    """A secret's ARN is an attribute, its bare name is not, its value never."""
    client, stubber = make_stub("secretsmanager")
    arn = "arn:aws:secretsmanager:us-east-1:1:secret:db-1"
    for secret in (arn, "plain-name"):
        stubber.add_response("get_secret_value", {"SecretString": "the-value"})
        client.get_secret_value(SecretId=secret)
    told = [
        (span.attributes or {}).get("aws.secretsmanager.secret.arn") for span in traced
    ]
    assert told == [arn, None]
    assert "the-value" not in exported(traced)
    assert "plain-name" not in exported(traced)
